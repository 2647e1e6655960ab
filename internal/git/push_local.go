package git

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/go-git/go-git/v5/plumbing/protocol/packp"
)

// localReceiver pushes to a repository on this machine through its git-receive-pack, so that its hooks and its
// configuration apply.
type localReceiver struct {
	dir  string
	opts Options
}

func (l localReceiver) push(ctx context.Context, request func(*advertisement) (*packp.ReferenceUpdateRequest, error)) (report *packp.ReportStatus, output string, err error) {
	cmd, err := gitCommand(ctx, l.opts, "receive-pack", l.dir)
	if err != nil {
		return nil, "", fmt.Errorf("pushing to a repository on this machine takes the git command: %w", err)
	}
	stderr := &prefix{max: maxPrinted}
	cmd.Stderr = stderr
	cmd.WaitDelay = 10 * time.Second
	stdin, err := cmd.StdinPipe()
	if err != nil {
		return nil, "", err
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		return nil, "", err
	}
	if err := cmd.Start(); err != nil {
		return nil, "", fmt.Errorf("git receive-pack: %w", err)
	}
	defer func() {
		// A command that still writes would block without a reader.
		_ = stdin.Close()
		_, _ = io.Copy(io.Discard, stdout)
		if werr := cmd.Wait(); werr != nil && err != nil {
			err = fmt.Errorf("git receive-pack: %w: %s", errors.Join(context.Cause(ctx), err), harmless(stderr.String()))
		}
		output += stderr.String()
	}()
	// The response follows the list: both are read from one buffer.
	reply := newPktReader(io.LimitReader(stdout, maxAdvertisement))
	adv, err := readAdvertisement(reply)
	if err != nil {
		return nil, "", err
	}
	req, err := request(adv)
	if err != nil {
		_, _ = io.WriteString(stdin, "0000") // ends the protocol cleanly
		return nil, "", err
	}
	var content bytes.Buffer
	if err := req.Encode(&content); err != nil {
		return nil, "", err
	}
	if _, err := content.WriteTo(stdin); err != nil {
		return nil, "", fmt.Errorf("sending: %w", err)
	}
	if err := stdin.Close(); err != nil {
		return nil, "", fmt.Errorf("sending: %w", err)
	}
	return readReport(reply.r, req)
}
