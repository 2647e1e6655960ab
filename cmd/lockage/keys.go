package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/lockage/lockage/sign"
)

type keyResult struct {
	PrivateKey  string `json:"privateKey"`
	PublicKey   string `json:"publicKey"`
	Fingerprint string `json:"fingerprint"`
}

func (r keyResult) Text(w io.Writer) {
	fmt.Fprintf(w, "private key  %s  (secret: store it in CI, for env://NAME or a file)\n", r.PrivateKey)
	fmt.Fprintf(w, "public key   %s  (commit it, and name it under identities)\n", r.PublicKey)
	fmt.Fprintf(w, "fingerprint  %s\n", r.Fingerprint)
}

func newKeysGenerateCommand(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "generate PREFIX",
		Short: "Make a key pair, PREFIX.key and PREFIX.pub",
		Long: `Generate makes an ECDSA key pair in cosign's formats. It encrypts the private key with the password in COSIGN_PASSWORD,
which may be empty, or else with one from the terminal. It never overwrites a file, and refuses a PREFIX inside a Git checkout, where
the next git add would publish the key.`,
		Example: `  lockage keys generate ~/.lockage/hydrator`,
		Args:    cobra.ExactArgs(1),
		RunE:    func(cmd *cobra.Command, args []string) error { return a.generateKeys(cmd.Context(), args[0]) },
	}
}

func (a *app) generateKeys(ctx context.Context, prefix string) error {
	if err := checkKeyPlace(prefix); err != nil {
		return err
	}
	password, err := a.keyPassword(ctx)
	if err != nil {
		return err
	}
	result, err := generateKey(prefix, password)
	if err == nil {
		a.emit(list[keyResult]{result})
	}
	return err
}

// checkKeyPlace refuses a place that has a key, or that a Git checkout would publish.
func checkKeyPlace(prefix string) error {
	for _, name := range []string{prefix + ".key", prefix + ".pub"} {
		if _, err := os.Lstat(name); !errors.Is(err, fs.ErrNotExist) {
			return usagef("%s exists, and is not overwritten; choose another prefix", name)
		}
	}
	if root, err := checkoutOf(prefix); err != nil || root != "" {
		return errors.Join(err, usagef("%s is inside the Git checkout %s, where `git add .` publishes the private key: choose a prefix outside, such as ~/.lockage/%s",
			prefix, root, filepath.Base(prefix)))
	}
	return nil
}

// keyPassword returns the password that new private keys are encrypted with.
func (a *app) keyPassword(ctx context.Context) ([]byte, error) {
	ask := a.newPassword()
	if _, given := os.LookupEnv(sign.PasswordVariable); !given && ask == nil {
		return nil, usagef("there is no terminal to ask for a password: set %s to the one that the private key is to be encrypted with, which may be empty", sign.PasswordVariable)
	}
	password, err := sign.PasswordFromEnv(ask)(ctx)
	if err != nil {
		return nil, usageError{err}
	}
	return password, nil
}

// generateKey writes a new key pair.
func generateKey(prefix string, password []byte) (keyResult, error) {
	result := keyResult{PrivateKey: prefix + ".key", PublicKey: prefix + ".pub"}
	pair, err := sign.GenerateKeyPair(password)
	if err != nil {
		return result, err
	}
	public, err := sign.ParsePublicKeys(pair.Public)
	if err != nil {
		return result, err
	}
	result.Fingerprint = public[0].Fingerprint()
	if err := writeNew(result.PrivateKey, pair.Private, 0o600); err != nil {
		return result, err
	}
	if err := writeNew(result.PublicKey, pair.Public, 0o644); err != nil {
		return result, errors.Join(err, os.Remove(result.PrivateKey))
	}
	return result, nil
}

// checkoutOf returns the root of the checkout that a file would be in; "" for none.
func checkoutOf(name string) (string, error) {
	dir, err := filepath.Abs(filepath.Dir(name))
	if err != nil {
		return "", err
	}
	if resolved, err := filepath.EvalSymlinks(dir); err == nil {
		dir = resolved
	}
	for ; ; dir = filepath.Dir(dir) {
		if _, err := os.Lstat(filepath.Join(dir, ".git")); err == nil {
			return dir, nil
		}
		if dir == filepath.Dir(dir) {
			return "", nil
		}
	}
}

// newPassword asks for a password twice.
func (a *app) newPassword() sign.PasswordFunc {
	ask, again := a.askPassword("Password for the new key (may be empty): "), a.askPassword("Repeat the password: ")
	if ask == nil {
		return nil
	}
	return func(ctx context.Context) ([]byte, error) {
		first, err := ask(ctx)
		if err != nil {
			return nil, err
		}
		second, err := again(ctx)
		if err == nil && !bytes.Equal(first, second) {
			err = errors.New("the two passwords differ")
		}
		return first, err
	}
}

// writeNew writes a file that must not exist; it leaves no part of it behind if it fails.
func writeNew(name string, data []byte, mode os.FileMode) error {
	f, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, mode)
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	if err == nil {
		err = errors.Join(f.Chmod(mode), f.Sync()) // whatever the umask
	}
	if err = errors.Join(err, f.Close()); err != nil {
		err = errors.Join(err, os.Remove(name))
	}
	return err
}
