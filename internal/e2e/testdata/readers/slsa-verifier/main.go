// Slsa-verifier is the verb verify-vsa of the program of that name.
//
//	slsa-verifier verify-vsa --attestation-path FILE --public-key-path FILE --subject-digest DIGEST --resource-uri URI --verifier-id ID
package main

import (
	"context"
	"crypto"
	"fmt"
	"os"

	"github.com/sigstore/sigstore/pkg/cryptoutils"
	"github.com/spf13/pflag"

	"github.com/slsa-framework/slsa-verifier/v2/options"
	"github.com/slsa-framework/slsa-verifier/v2/verifiers/internal/vsa"
)

func main() {
	flags := pflag.NewFlagSet("verify-vsa", pflag.ExitOnError)
	file := flags.String("attestation-path", "", "")
	key := flags.String("public-key-path", "", "")
	digests := flags.StringArray("subject-digest", nil, "")
	verifier := flags.String("verifier-id", "", "")
	resource := flags.String("resource-uri", "", "")
	_ = flags.Parse(os.Args[2:])
	if err := verify(*file, *key, &options.VSAOpts{
		ExpectedDigests: digests, ExpectedVerifierID: verifier, ExpectedResourceURI: resource, ExpectedVerifiedLevels: new([]string),
	}); err != nil {
		fmt.Fprintln(os.Stderr, "FAILED: SLSA verification failed:", err)
		os.Exit(1)
	}
	fmt.Fprintln(os.Stderr, "PASSED: SLSA verification passed")
}

func verify(file, key string, want *options.VSAOpts) error {
	attestation, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	pem, err := os.ReadFile(key)
	if err != nil {
		return err
	}
	public, err := cryptoutils.UnmarshalPEMToPublicKey(pem)
	if err != nil {
		return err
	}
	_, err = vsa.VerifyVSA(context.Background(), attestation, want,
		&options.VerificationOpts{PublicKey: public, PublicKeyID: new(string), PublicKeyHashAlgo: crypto.SHA256})
	return err
}
