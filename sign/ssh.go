package sign

import (
	"context"
	"crypto"
	"encoding/asn1"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"os"

	"github.com/sigstore/sigstore/pkg/signature"
	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/agent"
)

// pemOpenSSH is the type of the private keys that ssh-keygen writes.
const pemOpenSSH = "OPENSSH PRIVATE KEY"

// parseOpenSSHPrivate reads a private key that ssh-keygen wrote. What it signs is what a key of any other format would.
func parseOpenSSHPrivate(ctx context.Context, text []byte, ask PasswordFunc) (any, error) {
	key, err := ssh.ParseRawPrivateKey(text)
	var missing *ssh.PassphraseMissingError
	if errors.As(err, &missing) {
		if ask == nil {
			return nil, errors.New("the key is encrypted and no password is given")
		}
		password, err := ask(ctx)
		if err != nil {
			return nil, fmt.Errorf("its password: %w", err)
		}
		if key, err = ssh.ParseRawPrivateKeyWithPassphrase(text, password); err != nil {
			return nil, fmt.Errorf("%w (in %s, or as typed), or a damaged key file", ErrPassword, PasswordVariable)
		}
		return plainKey(key), nil
	}
	if err != nil {
		return nil, errors.New("the PEM block does not hold a private key") // the cause may quote key material
	}
	return plainKey(key), nil
}

// agentSigner signs with a key that an ssh agent holds.
type agentSigner struct {
	signature.Verifier // of its public half
	key                ssh.PublicKey
}

// openAgent opens the private half of a public key, if the agent of SSH_AUTH_SOCK holds it, as git does for a user.signingKey that names a
// public key.
func openAgent(public ssh.PublicKey) (*Key, error) {
	if known, ok := public.(ssh.CryptoPublicKey); ok {
		key, err := NewPublicKey(known.CryptoPublicKey())
		if err != nil {
			return nil, err
		}
		verifier, err := signature.LoadVerifier(key.key, crypto.SHA256)
		if err != nil {
			return nil, err
		}
		signer := agentSigner{verifier, public}
		return &Key{signer: signer, public: key}, signer.with(func(a agent.ExtendedAgent) error {
			held, err := a.List()
			for _, k := range held {
				if string(k.Marshal()) == string(public.Marshal()) {
					return err
				}
			}
			return errors.Join(err, errors.New("it is a public key, and the ssh agent does not hold its private half: run ssh-add, or name the private key"))
		})
	}
	return nil, fmt.Errorf("keys of type %s are not supported", public.Type())
}

// with calls the agent.
func (s agentSigner) with(use func(agent.ExtendedAgent) error) error {
	socket := os.Getenv("SSH_AUTH_SOCK")
	if socket == "" {
		return errors.New("it is a public key, and no ssh agent runs here that could hold its private half: name the private key")
	}
	connection, err := net.Dial("unix", socket) //nolint:gosec // the socket of the user's agent
	if err != nil {
		return fmt.Errorf("ssh agent: %w", err)
	}
	defer connection.Close()
	return use(agent.NewClient(connection))
}

// SignMessage implements [signature.Signer].
func (s agentSigner) SignMessage(message io.Reader, _ ...signature.SignOption) (sig []byte, err error) {
	text, err := io.ReadAll(message) // a statement of ours
	if err != nil {
		return nil, err
	}
	err = s.with(func(a agent.ExtendedAgent) error {
		var flags agent.SignatureFlags
		if s.key.Type() == ssh.KeyAlgoRSA {
			flags = agent.SignatureFlagRsaSha256
		}
		signed, err := a.SignWithFlags(s.key, text, flags)
		if err != nil {
			return fmt.Errorf("ssh agent: %w", err)
		}
		sig, err = plainSignature(signed)
		return err
	})
	return sig, err
}

// plainSignature returns a signature in the form that it has outside of ssh.
func plainSignature(s *ssh.Signature) ([]byte, error) {
	switch s.Format {
	case ssh.KeyAlgoED25519, ssh.KeyAlgoRSASHA256:
		return s.Blob, nil
	case ssh.KeyAlgoECDSA256:
		var numbers struct{ R, S *big.Int }
		if err := ssh.Unmarshal(s.Blob, &numbers); err != nil {
			return nil, fmt.Errorf("ssh agent: %w", err)
		}
		return asn1.Marshal(numbers)
	}
	return nil, fmt.Errorf("ssh keys that sign by %s are not supported; take Ed25519", s.Format)
}
