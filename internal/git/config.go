package git

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	gitconfig "github.com/go-git/go-git/v5/plumbing/format/config"

	"github.com/lockage/lockage/internal/bounded"
	"github.com/lockage/lockage/internal/loopback"
)

// config is git's effective configuration, in the order in which it was read: the later one of two values counts.
type config struct {
	entries []setting
	notices notices
	foreign bool // core.sshCommand is set by somebody whose commands git would not run
}

// setting is one value. Section and variable names are in lower case; a subsection between them is kept as written.
type setting struct{ key, value string }

// readConfig runs git, which reads system files, includes and GIT_CONFIG_* variables; without git, the files alone. gitDir
// is "" outside of repositories.
func readConfig(ctx context.Context, gitDir, commonDir string, opts Options) (*config, error) {
	args := []string{"config", "--list", "-z", "--includes"}
	if gitDir != "" {
		// Explicit, since git reads no repository of another owner, as on CI; listing runs nothing.
		args = append([]string{"--git-dir=" + gitDir}, args...)
	}
	out, err := runGit(ctx, opts, nil, args...)
	if err == nil {
		conf := parseConfigList(out)
		if _, set := conf.last("core.sshcommand"); set && gitDir != "" {
			_, err := runGit(ctx, opts, nil, "config", "core.sshCommand")
			conf.foreign = err != nil // git by itself does not read the repository's
		}
		return conf, nil
	}
	if !errors.Is(err, exec.ErrNotFound) {
		return nil, fmt.Errorf("reading git's configuration: %w", err)
	}
	conf := &config{}
	home := opts.getenv("HOME")
	xdg := cmp.Or(opts.getenv("XDG_CONFIG_HOME"), filepath.Join(home, ".config"))
	for _, file := range []string{
		"/etc/gitconfig", filepath.Join(xdg, "git", "config"), filepath.Join(home, ".gitconfig"),
		filepath.Join(commonDir, "config"), filepath.Join(gitDir, "config.worktree"),
	} {
		if !filepath.IsAbs(file) {
			continue // its folder is not known
		}
		more, err := readConfigFile(file)
		if err != nil {
			return nil, err
		}
		conf.entries = append(conf.entries, more.entries...)
	}
	return conf, nil
}

// killWait is how long a credential helper may keep git's output open after git was killed.
const killWait = time.Second

// gitCommand returns the git command, which never asks at a terminal.
func gitCommand(ctx context.Context, opts Options, args ...string) (*exec.Cmd, error) {
	return command(ctx, opts, "git", args...)
}

// command returns a command of git's or for it, which never asks at a terminal. GIT_ASKPASS and core.askPass stay: CI systems answer by them.
func command(ctx context.Context, opts Options, name string, args ...string) (*exec.Cmd, error) {
	path, err := lookPath(opts, name)
	if err != nil {
		return nil, err
	}
	cmd := exec.CommandContext(ctx, path, args...)
	cmd.Dir = opts.Dir
	cmd.WaitDelay = killWait
	for _, entry := range opts.environ() {
		switch key, _, _ := strings.Cut(entry, "="); key {
		// A hook's environment names another repository than the requested one.
		case "GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_COMMON_DIR", "GIT_OBJECT_DIRECTORY", "GIT_PREFIX",
			"GIT_TERMINAL_PROMPT", "SSH_ASKPASS", "GIT_TRACE", "GIT_TRACE2":
		default:
			cmd.Env = append(cmd.Env, entry)
		}
	}
	cmd.Env = append(cmd.Env, "GIT_TERMINAL_PROMPT=0", "SSH_ASKPASS=", "GCM_INTERACTIVE=never")
	return cmd, nil
}

// runGit runs the git command and returns what it prints.
func runGit(ctx context.Context, opts Options, stdin []byte, args ...string) ([]byte, error) {
	cmd, err := gitCommand(ctx, opts, args...)
	if err != nil {
		return nil, err
	}
	cmd.Stdin = bytes.NewReader(stdin)
	out, msg := &prefix{max: maxConfigBytes + 1}, &prefix{max: maxPrinted}
	cmd.Stdout, cmd.Stderr = out, msg
	err = cmd.Run()
	if err == nil && out.Len() > maxConfigBytes {
		err = fmt.Errorf("it prints more than %d bytes", maxConfigBytes)
	}
	if err != nil {
		return nil, fmt.Errorf("git %s: %w: %s", strings.Join(args[:min(len(args), 2)], " "), err, harmless(msg.String()))
	}
	return out.Bytes(), nil
}

// lookPath finds a program in the PATH of opts.
func lookPath(opts Options, name string) (string, error) {
	if opts.Environ == nil || filepath.IsAbs(name) {
		return exec.LookPath(name)
	}
	for _, dir := range filepath.SplitList(opts.getenv("PATH")) {
		if filepath.IsAbs(dir) {
			if path, err := exec.LookPath(filepath.Join(dir, name)); err == nil {
				return path, nil
			}
		}
	}
	return "", exec.ErrNotFound
}

// parseConfigList reads the output of git config --list -z.
func parseConfigList(out []byte) *config {
	conf := &config{}
	for record := range strings.SplitSeq(string(out), "\x00") {
		if record == "" {
			continue
		}
		key, value, ok := strings.Cut(record, "\n")
		if !ok {
			value = "true" // a variable without a value
		}
		conf.add(key, value)
	}
	return conf
}

// readConfigFile reads one file, without its includes; a file that does not exist is empty.
func readConfigFile(file string) (*config, error) {
	conf := &config{}
	data, err := bounded.File(file, maxConfigBytes)
	if errors.Is(err, fs.ErrNotExist) {
		return conf, nil
	}
	if err != nil {
		return nil, err
	}
	raw := gitconfig.New()
	if err := gitconfig.NewDecoder(bytes.NewReader(data)).Decode(raw); err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	for _, section := range raw.Sections {
		for _, o := range section.Options {
			conf.add(section.Name+"."+o.Key, o.Value)
		}
		for _, sub := range section.Subsections {
			for _, o := range sub.Options {
				conf.add(section.Name+"."+sub.Name+"."+o.Key, o.Value)
			}
		}
	}
	return conf, nil
}

func (c *config) add(key, value string) {
	section, sub, name := splitKey(key)
	key = strings.ToLower(section) + "."
	if sub != "" {
		key += sub + "."
	}
	c.entries = append(c.entries, setting{key + strings.ToLower(name), value})
}

// splitKey splits section.subsection.name; only a subsection has dots.
func splitKey(key string) (section, sub, name string) {
	first, last := strings.IndexByte(key, '.'), strings.LastIndexByte(key, '.')
	if first < 0 {
		return key, "", ""
	}
	if first == last {
		return key[:first], "", key[first+1:]
	}
	return key[:first], key[first+1 : last], key[last+1:]
}

func (c *config) all(key string) []string {
	var values []string
	for _, e := range c.entries {
		if e.key == key {
			values = append(values, e.value)
		}
	}
	return values
}

func (c *config) last(key string) (string, bool) {
	for _, e := range slices.Backward(c.entries) {
		if e.key == key {
			return e.value, true
		}
	}
	return "", false
}

// subsections returns, sorted, those of a section that hold name.
func (c *config) subsections(section, name string) []string {
	var found []string
	for _, e := range c.entries {
		if s, sub, n := splitKey(e.key); s == section && n == name && sub != "" {
			found = append(found, sub)
		}
	}
	slices.Sort(found)
	return slices.Compact(found)
}

// rewrite applies url.<base>.insteadOf, or pushInsteadOf, with the longest matching prefix.
func (c *config) rewrite(raw, setting string) (rewritten string, ok bool) {
	best, base := "", ""
	for _, e := range c.entries {
		section, sub, name := splitKey(e.key)
		if section == "url" && name == setting && e.value != "" && strings.HasPrefix(raw, e.value) && len(e.value) > len(best) {
			best, base = e.value, sub
		}
	}
	if best == "" {
		return raw, false
	}
	return base + raw[len(best):], true
}

// fetchURL returns where to read what is named by a URL.
func (c *config) fetchURL(raw string) string {
	rewritten, _ := c.rewrite(raw, "insteadof")
	return rewritten
}

// serves reports whether the user trusts the server of a URL with a token: one that a remote has, or that insteadOf leads to. Where no
// remote is on a server, those of this machine are.
func (c *config) serves(raw string) bool {
	to, rewritten := c.rewrite(raw, "insteadof")
	a, err := parseAddress(to, "/")
	if rewritten || err != nil || a.url == nil {
		return true // or nothing is sent
	}
	alone := true
	for _, name := range c.subsections("remote", "url") {
		for _, url := range append(c.all("remote."+name+".url"), c.all("remote."+name+".pushurl")...) {
			own, err := parseAddress(c.fetchURL(url), "/")
			if err != nil || own.url == nil {
				continue
			}
			if alone = false; sameServer(own.url, a.url) {
				return true
			}
		}
	}
	return alone && loopback.Is(a.url.Host)
}

// pushURL returns where to push to, if that is another place than where the remote of a name is read; "" if not. Lockage reads
// there, too: what it replaces has to be what it read. The error says why nothing can be pushed.
func (c *config) pushURL(name, raw string) (string, error) {
	another, rewritten := c.rewrite(raw, "pushinsteadof")
	if name == "" {
		if rewritten {
			return "", errors.New("url.<base>.pushInsteadOf applies to its URL: give it a name (git remote add), and write that")
		}
		return "", nil
	}
	explicit := c.all("remote." + name + ".pushurl")
	switch {
	case len(explicit) > 1 || len(explicit) == 0 && len(c.all("remote."+name+".url")) > 1:
		return "", fmt.Errorf("remote %s has several URLs to push to, and no push could move all or none: leave one (git remote set-url --delete --push)", name)
	case len(explicit) == 1:
		return c.fetchURL(explicit[0]), nil
	case rewritten:
		return another, nil
	}
	return "", nil
}

// forURL lists the values of section.name and of section.<url>.name whose URL matches u (git-config(1), «http.<url>.*»): a
// less specific value than an earlier one does not count, an empty value clears those before it.
func (c *config) forURL(section, name string, u *url.URL) []string {
	var values []string
	for _, value := range c.matching(section, name, u) {
		if values = append(values, value); value == "" {
			values = nil
		}
	}
	return values
}

// lastForURL returns the most specific value for u; an empty one is a value, too.
func (c *config) lastForURL(section, name string, u *url.URL) (string, bool) {
	values := c.matching(section, name, u)
	if len(values) == 0 {
		return "", false
	}
	return values[len(values)-1], true
}

func (c *config) matching(section, name string, u *url.URL) []string {
	var values []string
	best := -1
	for _, e := range c.entries {
		s, sub, n := splitKey(e.key)
		if s != section || n != name {
			continue
		}
		score, ok := 0, true
		if sub != "" {
			score, ok = matchURL(sub, u)
		}
		if ok && score >= best {
			best = score
			values = append(values, e.value)
		}
	}
	return values
}

// matchURL reports whether u is at or below pattern, and how specific the match is.
func matchURL(pattern string, u *url.URL) (int, bool) {
	p, err := url.Parse(pattern)
	if err != nil || !strings.EqualFold(p.Scheme, u.Scheme) || port(p) != port(u) {
		return 0, false
	}
	pattern, host := strings.ToLower(p.Hostname()), strings.ToLower(u.Hostname())
	if !matchLabels(pattern, host) {
		return 0, false
	}
	exact, user := 0, 0
	if pattern == host {
		exact = 1
	}
	if p.User != nil {
		if u.User == nil || p.User.Username() != u.User.Username() {
			return 0, false
		}
		user = 1
	}
	prefix, path := strings.Trim(p.Path, "/"), strings.Trim(u.Path, "/")
	if prefix != "" && path != prefix && !strings.HasPrefix(path, prefix+"/") {
		return 0, false
	}
	return 1 + user + 2*(len(prefix)+1) + exact<<20, true
}

// matchLabels matches *.example.com, a star for one label.
func matchLabels(pattern, host string) bool {
	return slices.EqualFunc(strings.Split(pattern, "."), strings.Split(host, "."),
		func(want, have string) bool { return want == "*" || want == have })
}

func port(u *url.URL) string {
	standard := "80"
	if strings.EqualFold(u.Scheme, "https") {
		standard = "443"
	}
	return cmp.Or(u.Port(), standard)
}
