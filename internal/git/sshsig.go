package git

import (
	"bytes"
	"context"
	"crypto"
	"errors"
	"fmt"

	"github.com/go-git/go-git/v5/plumbing"
	"github.com/hiddeco/sshsig"
	"golang.org/x/crypto/ssh"
)

// sshNamespace is what git signs commits for (OpenSSH's PROTOCOL.sshsig).
const sshNamespace = "git"

// ErrUnsigned is returned for a commit that no ssh key signed. The error's text says why.
var ErrUnsigned = errors.New("not signed with ssh")

// SSHSigner signs commits with an SSH private key, in OpenSSH's or PEM form and without a passphrase, as `git
// verify-commit` with gpg.format=ssh checks it. Ed25519 and RSA signatures are deterministic, ECDSA signatures are not.
func SSHSigner(key []byte) (func(payload []byte) (string, error), error) {
	signer, err := ssh.ParsePrivateKey(key)
	var locked *ssh.PassphraseMissingError
	if errors.As(err, &locked) {
		return nil, errors.New("the ssh key has a passphrase, which cannot be asked for: use one without")
	}
	if err != nil {
		return nil, errors.New("not an ssh private key (ssh-keygen -t ed25519 makes one)") // the cause may quote the key
	}
	return func(payload []byte) (string, error) {
		signature, err := sshsig.Sign(bytes.NewReader(payload), signer, sshsig.HashSHA512, sshNamespace)
		if err != nil {
			return "", err
		}
		return string(sshsig.Armor(signature)), nil
	}, nil
}

// Signer returns the public key whose ssh signature a commit carries, as `git commit -S` with gpg.format=ssh makes it. Anybody can
// sign a commit: who the key belongs to is for the caller to know. A commit without a valid signature is [ErrUnsigned].
func (c *commits) Signer(ctx context.Context, h Hash) (crypto.PublicKey, error) {
	data, err := loadKind(ctx, c.from, want{ids: []plumbing.Hash{h.id()}, commit: h.id(), shape: shapeCommit}, plumbing.CommitObject)
	if err != nil {
		return nil, err
	}
	if plumbing.ComputeHash(plumbing.CommitObject, data) != h.id() {
		return nil, fmt.Errorf("commit %s cannot be read: its bytes have another id", h)
	}
	key, err := signerOf(data)
	if err != nil {
		return nil, fmt.Errorf("commit %s is %w: %w", h, ErrUnsigned, err)
	}
	return key, nil
}

// signerOf verifies the signature of a commit's bytes.
func signerOf(commit []byte) (crypto.PublicKey, error) {
	payload, armour := splitSignature(commit)
	switch {
	case len(armour) == 0:
		return nil, errors.New("it has no signature")
	case !bytes.HasPrefix(armour, []byte("-----BEGIN "+sshsig.PEMType)):
		return nil, errors.New("its signature is of another kind (gpg.format is not ssh)")
	}
	signature, err := sshsig.Unarmor(armour)
	if err != nil {
		return nil, fmt.Errorf("its signature cannot be read: %w", err)
	}
	if err := sshsig.Verify(bytes.NewReader(payload), signature, signature.PublicKey, signature.HashAlgorithm, sshNamespace); err != nil {
		return nil, fmt.Errorf("its signature is not valid: %w", err)
	}
	key, ok := signature.PublicKey.(ssh.CryptoPublicKey)
	if !ok {
		return nil, fmt.Errorf("keys of type %s are not supported", signature.PublicKey.Type())
	}
	return key.CryptoPublicKey(), nil
}

// splitSignature takes the header gpgsig out of a commit's bytes, as git does: the rest is what was signed. A header gpgsig-sha256
// is left out too.
func splitSignature(commit []byte) (payload, armour []byte) {
	inHead, into := true, &payload
	for line := range bytes.Lines(commit) {
		if !inHead {
			payload = append(payload, line...)
			continue
		}
		name, value, _ := bytes.Cut(line, []byte(" "))
		switch {
		case len(name) == 0 && into != &payload: // a header goes on
			line = value
		case string(name) == "gpgsig":
			into, line = &armour, value
		case string(name) == "gpgsig-sha256":
			into, line = new([]byte), value
		default:
			into = &payload
		}
		inHead = string(line) != "\n" || into != &payload
		*into = append(*into, line...)
	}
	return payload, armour
}
