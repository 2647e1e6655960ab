//go:build !pkcs11key

package sign

import (
	"context"
	"errors"
)

// openToken refuses keys on PKCS #11 tokens, without the reference, which may hold a PIN.
func openToken(context.Context, string) (Signer, error) {
	return nil, errors.New("this lockage signs with no key on a PKCS #11 token: build it with `CGO_ENABLED=1 go build -tags pkcs11key ./cmd/lockage`")
}
