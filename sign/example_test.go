package sign_test

import (
	"context"
	"crypto/ed25519"
	"fmt"
	"log"
	"os"
	"testing/fstest"

	"github.com/opencontainers/go-digest"

	"github.com/lockage/lockage/oci"
	"github.com/lockage/lockage/sign"
)

// A statement is signed with a key, and verified by an identity that has its public half.
func ExampleSign() {
	key, err := sign.NewKey(ed25519.NewKeyFromSeed(make([]byte, ed25519.SeedSize)))
	if err != nil {
		log.Fatal(err)
	}
	artifact := digest.FromString("a manifest")
	bundle, err := sign.Sign(context.Background(), key, sign.NewSignature(artifact, sign.Claim{
		Pipeline: "shop", Stage: "production", Release: "git-0123456789012345678901234567890123456789", Repository: "ghcr.io/acme/shop",
	}))
	if err != nil {
		log.Fatal(err)
	}

	verifier, err := sign.NewVerifier(sign.Identity{Name: "hydrator", PublicKey: key.PublicKey()})
	if err != nil {
		log.Fatal(err)
	}
	verified, _ := verifier.Verify(artifact, []sign.Bundle{bundle})
	for _, v := range verified {
		fmt.Printf("%s signed it for stage %s of %s\n", v.Identity(), v.Claim().Stage, v.Claim().Pipeline)
	}
	// The same bundle proves nothing about another artifact.
	_, rejected := verifier.Verify(digest.FromString("another manifest"), []sign.Bundle{bundle})
	fmt.Println(len(rejected), "rejected")
	// Output:
	// hydrator signed it for stage production of shop
	// 1 rejected
}

// A statement is attached to an artifact in a repository, here an image layout, and found there again.
func ExampleAttest() {
	ctx := context.Background()
	dir, err := os.MkdirTemp("", "layout")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	repository, err := oci.NewClient(oci.Options{}).Repository("oci-layout:" + dir + "/layout")
	if err != nil {
		log.Fatal(err)
	}
	artifact, err := oci.Pack(fstest.MapFS{"configmap-web.yaml": {Data: []byte("kind: ConfigMap\n")}}, nil)
	if err != nil {
		log.Fatal(err)
	}
	if err := repository.PushArtifact(ctx, artifact); err != nil {
		log.Fatal(err)
	}
	key, err := sign.NewKey(ed25519.NewKeyFromSeed(make([]byte, ed25519.SeedSize)))
	if err != nil {
		log.Fatal(err)
	}
	statement, err := sign.NewProvenance(artifact.Descriptor.Digest, sign.Provenance{
		Claim:        sign.Claim{Pipeline: "shop", Stage: "production", Repository: "ghcr.io/acme/shop"},
		Dependencies: []sign.ResourceDescriptor{sign.GitCommit("source", "git@github.com:acme/shop.git", "0123456789012345678901234567890123456789")},
	})
	if err != nil {
		log.Fatal(err)
	}
	if _, err := sign.Attest(ctx, repository, artifact.Descriptor, key, statement); err != nil {
		log.Fatal(err)
	}

	verifier, err := sign.NewVerifier(sign.Identity{Name: "hydrator", PublicKey: key.PublicKey()})
	if err != nil {
		log.Fatal(err)
	}
	verified, rejected, err := sign.Verify(ctx, repository, artifact.Descriptor, verifier)
	if err != nil {
		log.Fatal(err)
	}
	provenance, err := verified[0].Provenance()
	fmt.Println(len(verified), "verified,", len(rejected), "rejected, made from commit", provenance.Commit("source"), err)
	// Output: 1 verified, 0 rejected, made from commit 0123456789012345678901234567890123456789 <nil>
}
