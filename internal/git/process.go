package git

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"time"

	"github.com/go-git/go-git/v5/plumbing/protocol/packp"
)

// process is a git service that runs as a process and has shown what it has: by ssh on another machine, or on this one.
type process struct {
	name   string // for errors
	cmd    *exec.Cmd
	stdin  io.WriteCloser
	stdout io.ReadCloser
	reply  *pktReader // of stdout
	words  *prefix    // what it prints to standard error
	adv    *advertisement
	free   func() bool // of what waits for the end of the context
}

// start starts a service, and reads what it shows first. The caller ends it.
func start(ctx context.Context, name string, cmd *exec.Cmd) (*process, error) {
	p := &process{name: name, cmd: cmd, words: &prefix{max: maxPrinted}}
	cmd.Stderr = p.words
	var err error
	if p.stdin, err = cmd.StdinPipe(); err != nil {
		return nil, err
	}
	if p.stdout, err = cmd.StdoutPipe(); err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	p.free = context.AfterFunc(ctx, func() { _ = p.stdout.Close() }) // what the command started itself may hold it open
	limit := &io.LimitedReader{R: p.stdout, N: maxAdvertisement}
	p.reply = newPktReader(limit) // what follows is read from the same buffer
	if p.adv, err = readAdvertisement(p.reply); err != nil {
		if errors.Is(err, io.ErrUnexpectedEOF) {
			err = errNotBegun
		}
		return nil, p.end(ctx, err)
	}
	limit.N = maxPackBytes
	return p, nil
}

// errNotBegun is of a service that shows nothing, which no repetition would change.
var errNotBegun = errors.New("the service did not begin")

// end ends the service. If err is an error, it returns it with how the service ended and what it printed.
func (p *process) end(ctx context.Context, err error) error {
	defer p.free()
	// A command that still writes would block without a reader.
	_ = p.stdin.Close()
	_, _ = io.Copy(io.Discard, p.stdout)
	ended := p.cmd.Wait()
	switch {
	case err == nil:
		return nil
	case ctx.Err() != nil:
		return errors.Join(context.Cause(ctx), err)
	case ended != nil:
		err = fmt.Errorf("%s: %w (%w)", p.name, err, ended)
		if words := harmless(p.words.String()); words != "" {
			err = fmt.Errorf("%w: %s", err, words)
		}
	}
	return err
}

// push passes what the service shows to request, sends the result, and returns report and output.
func (p *process) push(ctx context.Context, request func(*advertisement) (*packp.ReferenceUpdateRequest, error)) (report *packp.ReportStatus, output string, err error) {
	defer func() {
		err = p.end(ctx, err)
		output += p.words.String()
	}()
	req, err := request(p.adv)
	if err != nil {
		_, _ = io.WriteString(p.stdin, "0000") // ends the protocol cleanly
		return nil, "", err
	}
	content := bufio.NewWriter(p.stdin)
	err = req.Encode(content)
	if err == nil {
		err = content.Flush()
	}
	if err = errors.Join(err, p.stdin.Close()); err != nil {
		return nil, "", fmt.Errorf("sending: %w", err)
	}
	return readReport(p.reply.r, req)
}

// localReceiver pushes through git-receive-pack on this machine: its hooks and configuration apply.
type localReceiver struct {
	dir  string
	opts Options
}

func (l localReceiver) push(ctx context.Context, request func(*advertisement) (*packp.ReferenceUpdateRequest, error)) (*packp.ReportStatus, string, error) {
	cmd, err := gitCommand(ctx, l.opts, "receive-pack", l.dir)
	if err != nil {
		return nil, "", fmt.Errorf("pushing to a repository on this machine takes the git command: %w", err)
	}
	cmd.WaitDelay = 10 * time.Second // its hooks
	p, err := start(ctx, "git receive-pack", cmd)
	if err != nil {
		return nil, "", err
	}
	return p.push(ctx, request)
}
