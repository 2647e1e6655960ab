package evidence

import (
	"context"
	"errors"
	"fmt"

	"github.com/lockage/lockage/internal/git"
	"github.com/lockage/lockage/sign"
)

// source reads who signed the locked commit.
func (c *collector) source(ctx context.Context) error {
	remote, err := c.Sources.Remote(ctx, c.Declared.SourceRepo)
	if err != nil {
		return fmt.Errorf("source repository: %w", err)
	}
	signer, err := remote.Signer(ctx, git.Hash(c.Lock.GitCommit))
	if errors.Is(err, git.ErrUnsigned) {
		c.facts.Source.Unsigned = err.Error()
		return nil
	}
	if err != nil {
		return fmt.Errorf("source repository: %w", err)
	}
	key, err := sign.NewPublicKey(signer)
	if err != nil {
		c.facts.Source.Unsigned = err.Error()
		return nil
	}
	c.facts.Source.Key, c.facts.Source.Signers = key.Fingerprint(), c.keys.Holders(key)
	return nil
}
