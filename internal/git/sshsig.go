package git

import (
	"crypto/rand"
	"crypto/sha512"
	"encoding/base64"
	"errors"
	"fmt"
	"slices"

	"golang.org/x/crypto/ssh"
)

// Constants of SSH signatures (OpenSSH's PROTOCOL.sshsig).
const (
	sshMagic     = "SSHSIG"
	sshNamespace = "git"
	sshHash      = "sha512"
	sshLine      = 70 // characters of an armoured line
)

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
	return func(payload []byte) (string, error) { return sshSign(signer, payload) }, nil
}

func sshSign(signer ssh.Signer, payload []byte) (string, error) {
	sum := sha512.Sum512(payload)
	signed := append([]byte(sshMagic), ssh.Marshal(struct {
		Namespace, Reserved, Hash string
		Sum                       []byte
	}{sshNamespace, "", sshHash, sum[:]})...)
	algorithm := signer.PublicKey().Type()
	if algorithm == ssh.KeyAlgoRSA {
		algorithm = ssh.KeyAlgoRSASHA512 // SHA-1, its first one, is refused
	}
	with, ok := signer.(ssh.AlgorithmSigner)
	if !ok {
		return "", fmt.Errorf("ssh keys of type %s cannot sign here", algorithm)
	}
	signature, err := with.SignWithAlgorithm(rand.Reader, signed, algorithm)
	if err != nil {
		return "", err
	}
	blob := append([]byte(sshMagic), ssh.Marshal(struct {
		Version                   uint32
		Key                       []byte
		Namespace, Reserved, Hash string
		Signature                 []byte
	}{1, signer.PublicKey().Marshal(), sshNamespace, "", sshHash, ssh.Marshal(signature)})...)
	armour := "-----BEGIN SSH SIGNATURE-----\n"
	for line := range slices.Chunk([]byte(base64.StdEncoding.EncodeToString(blob)), sshLine) {
		armour += string(line) + "\n"
	}
	return armour + "-----END SSH SIGNATURE-----\n", nil
}
