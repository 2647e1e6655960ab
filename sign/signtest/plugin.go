package signtest

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/sigstore/sigstore/pkg/signature"
	"github.com/sigstore/sigstore/pkg/signature/kms/cliplugin/handler"
)

// service is a key service that has one key, in a file.
type service struct{ signature.SignerVerifier }

func (service) CreateKey(context.Context, string) (crypto.PublicKey, error) {
	return nil, errors.New("keys are made by hand")
}

func (s service) CryptoSigner(context.Context, func(error)) (crypto.Signer, crypto.SignerOpts, error) {
	return nil, nil, errors.New("the key does not leave the service")
}

func (service) SupportedAlgorithms() []string { return []string{"ecdsa-p256-sha256"} }
func (service) DefaultAlgorithm() string      { return "ecdsa-p256-sha256" }

// Plugin is the program sigstore-kms-test: it signs with the unencrypted key in the file that a reference test://FILE names. With one whose
// name ends in liar.pem it signs something else than it is asked to.
func Plugin() {
	if err := plugin(); err != nil {
		_ = handler.WriteErrorResponse(os.Stdout, err)
	}
}

func plugin() error {
	args, err := handler.GetPluginArgs(os.Args)
	if err != nil || args.InitOptions == nil {
		return errors.Join(err, errors.New("not called as a plugin"))
	}
	text, err := os.ReadFile(args.InitOptions.KeyResourceID)
	if err != nil {
		return fmt.Errorf("no such key: %w", err)
	}
	block, _ := pem.Decode(text)
	if block == nil {
		return errors.New("no such key")
	}
	key, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		return err
	}
	private, ok := key.(*ecdsa.PrivateKey)
	if !ok {
		return fmt.Errorf("a key of type %T", key)
	}
	signer, err := signature.LoadECDSASignerVerifier(private, args.InitOptions.HashFunc)
	if err != nil {
		return err
	}
	message := io.Reader(os.Stdin)
	if strings.HasSuffix(args.InitOptions.KeyResourceID, "liar.pem") {
		message = strings.NewReader("something else")
	}
	_, err = handler.Dispatch(os.Stdout, message, args, service{signer})
	return err
}
