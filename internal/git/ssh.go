package git

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"

	"github.com/go-git/go-git/v5/plumbing/protocol/packp"

	"github.com/lockage/lockage/internal/shell"
)

// sshLink runs git's services on another machine by the ssh command that git would run, in one session per operation.
type sshLink struct {
	addr  address
	conf  *config
	opts  Options
	count *counters

	known atomic.Pointer[advertisement] // of version 2, which has no references that could be old
}

// newSSHLink returns a link to the repository at an address. What looks like an option of ssh or of git's services is refused.
func newSSHLink(a address, conf *config, opts Options, count *counters) (*sshLink, error) {
	l := &sshLink{addr: a, conf: conf, opts: opts, count: count}
	if strings.HasPrefix(l.host(), "-") || strings.HasPrefix(a.path, "-") || strings.ContainsAny(l.host()+a.path, "\n\x00") {
		return nil, errors.New("the URL's host or path would be taken for an option of ssh")
	}
	return l, nil
}

// host returns [user@]host, as ssh takes it.
func (l *sshLink) host() string {
	host := l.addr.url.Hostname()
	if user := l.addr.url.User.Username(); user != "" {
		return user + "@" + host
	}
	return host
}

// command returns the command that runs a line of shell on the other machine, as git-config(1) says of core.sshCommand and ssh.variant.
func (l *sshLink) command(ctx context.Context, line string) (*exec.Cmd, error) {
	custom := l.opts.getenv("GIT_SSH_COMMAND")
	if custom == "" {
		custom, _ = l.conf.last("core.sshcommand")
		if l.conf.foreign {
			return nil, fmt.Errorf("core.sshCommand is set in a repository of another owner, and not run: trust it with git config --global --add safe.directory %s", l.opts.Dir)
		}
	}
	program := l.opts.getenv("GIT_SSH")
	if program == "" {
		program = "ssh"
	}
	named := program
	if words := strings.Fields(custom); len(words) > 0 {
		named = strings.Trim(words[0], `"'`)
	}
	args, err := l.options(named)
	if err != nil {
		return nil, err
	}
	args = append(args, l.host(), line)
	if custom != "" {
		args = append([]string{"-c", custom + ` "$@"`, named}, args...)
		program = "sh"
	}
	opts := l.opts
	opts.Environ = append(slices.Clone(opts.environ()), "GIT_PROTOCOL=version=2")
	cmd, err := command(ctx, opts, program, args...)
	if errors.Is(err, exec.ErrNotFound) {
		return nil, fmt.Errorf("no %s in PATH: install OpenSSH, name a command with core.sshCommand or GIT_SSH_COMMAND, or write an https URL: %w", program, err)
	}
	return cmd, err
}

// options returns the options before the host, for the program that is named.
func (l *sshLink) options(named string) ([]string, error) {
	base := strings.TrimSuffix(strings.ToLower(path.Base(filepath.ToSlash(named))), ".exe")
	variant := l.opts.getenv("GIT_SSH_VARIANT")
	if variant == "" {
		variant, _ = l.conf.last("ssh.variant")
	}
	if variant == "" || variant == "auto" {
		variant = base
	}
	number := l.addr.url.Port()
	var args []string
	switch variant {
	case "simple":
		if number != "" {
			return nil, fmt.Errorf("ssh.variant=simple takes no port, and the URL has port %s", number)
		}
		return nil, nil
	case "plink", "putty", "tortoiseplink":
		if variant == "tortoiseplink" {
			args = append(args, "-batch")
		}
		if number != "" {
			args = append(args, "-P", number)
		}
		return args, nil
	}
	if base == "ssh" {
		args = append(args, "-o", "BatchMode=yes", "-o", "SendEnv=GIT_PROTOCOL")
		if known := l.opts.getenv("SSH_KNOWN_HOSTS"); known != "" {
			args = append(args, "-o", "UserKnownHostsFile="+strings.Join(filepath.SplitList(known), " "))
		}
	}
	if number != "" {
		args = append(args, "-p", number)
	}
	return args, nil
}

// sshFailed is the exit status of ssh if it did not come to run the command.
const sshFailed = 255

// open starts one of git's services, and reads what it shows.
func (l *sshLink) open(ctx context.Context, service string) (*process, error) {
	cmd, err := l.command(ctx, service+" "+shell.Quote(l.addr.path))
	if err != nil {
		return nil, fmt.Errorf("ssh: %w", err)
	}
	l.count.trips.Add(1)
	p, err := start(ctx, "ssh", cmd)
	var ended *exec.ExitError
	if errors.As(err, &ended) && ended.ExitCode() == sshFailed {
		return nil, fmt.Errorf("%w: does «ssh %s» work? Keys are taken from ssh-agent (ssh-add), ~/.ssh and core.sshCommand, hosts from known_hosts", err, l.host())
	}
	if err == nil && p.adv.version == 2 {
		l.known.Store(p.adv)
	}
	return p, err
}

// with runs f with a service.
func (l *sshLink) with(ctx context.Context, service string, f func(*process) error) error {
	p, err := l.open(ctx, service)
	if err != nil {
		return err
	}
	return p.end(ctx, f(p))
}

func (l *sshLink) advertisement(ctx context.Context) (adv *advertisement, err error) {
	if adv := l.known.Load(); adv != nil {
		return adv, nil
	}
	err = l.with(ctx, uploadPack, func(p *process) error {
		adv = p.adv
		_, _ = io.WriteString(p.stdin, "0000") // asks for nothing
		return nil
	})
	return adv, err
}

func (l *sshLink) references(ctx context.Context, prefixes []string) (refs []reference, err error) {
	err = l.with(ctx, uploadPack, func(p *process) error {
		if p.adv.version != 2 {
			refs = p.adv.refs
			_, _ = io.WriteString(p.stdin, "0000")
			return nil
		}
		if _, err := p.stdin.Write(encodeLsRefs(prefixes)); err != nil {
			return fmt.Errorf("sending: %w", err)
		}
		refs, err = readLsRefs(p.reply.r)
		return err
	})
	return refs, err
}

func (l *sshLink) pack(ctx context.Context, q request, keep func(io.Reader) error) error {
	return l.with(ctx, uploadPack, func(p *process) error {
		if _, err := p.stdin.Write(q.encode(p.adv)); err != nil {
			return fmt.Errorf("sending: %w", err)
		}
		r, err := openPack(p.reply.r, q, p.adv)
		if err != nil {
			return err
		}
		return keep(&countingBody{ReadCloser: io.NopCloser(r), n: &l.count.bytes})
	})
}

// push implements receiver.
func (l *sshLink) push(ctx context.Context, request func(*advertisement) (*packp.ReferenceUpdateRequest, error)) (*packp.ReportStatus, string, error) {
	p, err := l.open(ctx, receivePack)
	if err != nil {
		return nil, "", err
	}
	return p.push(ctx, request)
}
