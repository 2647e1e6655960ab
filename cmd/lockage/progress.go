package main

import (
	"os"
	"regexp"
	"strings"
	"sync"

	"golang.org/x/term"

	"github.com/lockage/lockage/internal/terminal"
)

// ANSI's control sequences: to the first column and clear the line, and colours.
const (
	clearLine = "\r\x1b[K"
	red       = "\x1b[31m"
	green     = "\x1b[32m"
	yellow    = "\x1b[33m"
	plain     = "\x1b[0m"
)

// progressLine is the last line of a terminal, which shows what a run came to.
type progressLine struct {
	mu    sync.Mutex
	shown bool
}

// show replaces the line.
func (p *progressLine) show(f *os.File, message string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	columns, _, err := term.GetSize(int(f.Fd()))
	if err != nil || columns <= 0 {
		columns = width
	}
	line := []rune(terminal.Escape(strings.ReplaceAll(message, "\n", " "), ""))
	_, _ = f.WriteString(clearLine + string(line[:min(len(line), columns-1)]))
	p.shown = true
}

// clear removes the line, before something else is printed.
func (p *progressLine) clear(f *os.File) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.shown {
		_, _ = f.WriteString(clearLine)
		p.shown = false
	}
}

// terminalOf returns a stream as a file if it is a terminal; nil for another.
func terminalOf(stream any) *os.File {
	f, ok := stream.(*os.File)
	if !ok || !term.IsTerminal(int(f.Fd())) {
		return nil
	}
	return f
}

// step reports progress on standard error: in one line that changes if it is a terminal, or in a line each if --progress plain asks for it.
func (a *app) step(message string) {
	f := terminalOf(a.stderr)
	switch {
	case a.progress == "plain":
		a.print(message)
	case a.progress == "auto" && f != nil && a.line != nil:
		a.line.show(f, message)
	}
}

// clear removes the line of progress.
func (a *app) clear() {
	if f := terminalOf(a.stderr); f != nil && a.line != nil {
		a.line.clear(f)
	}
}

// advises reports whether somebody sits at the terminal who wants to know what comes next, or asked for it with --progress plain.
func (a *app) advises() bool {
	return a.progress == "plain" || a.progress == "auto" && terminalOf(a.stderr) != nil
}

// next prints commands that may come after this one.
func (a *app) next(commands ...string) {
	if len(commands) > 0 && a.advises() {
		a.print("next:\n  " + strings.Join(commands, "\n  "))
	}
}

// verdicts match the words of a text that say how something came out.
var verdicts = []struct {
	words  *regexp.Regexp
	colour string
}{
	{regexp.MustCompile(`(?m)^( +(?:\S+: )?)(fail|failed|denied)\b`), red},
	{regexp.MustCompile(`(?m)^( +(?:\S+: )?)(pending|waived|superseded)\b`), yellow},
	{regexp.MustCompile(`(?m)^( +(?:\S+: )?)(pass|passed)\b`), green},
	{regexp.MustCompile(`(?m)^([^ ]+: )(fail|failed|denied)\b`), red},
	{regexp.MustCompile(`(?m)^([^ ]+: )(pending|unknown)\b`), yellow},
	{regexp.MustCompile(`(?m)^([^ ]+: )(promoted|rolled-back|pass|noop)\b`), green},
	{regexp.MustCompile(`(?m)^(  \S+ +)(failed)\b`), red},
	{regexp.MustCompile(`(?m)^(  \S+ +)(pushed)\b`), green},
	{regexp.MustCompile(`()\b(DRIFT|UNPROMOTED)\b`), red},
}

// coloured adds colours to a text of results.
func coloured(text string) string {
	for _, v := range verdicts {
		text = v.words.ReplaceAllString(text, "${1}"+v.colour+"${2}"+plain)
	}
	return text
}

// colours reports whether results have colours: standard output is a terminal, and NO_COLOR does not ask for none.
func (a *app) colours() bool {
	return terminalOf(a.stdout) != nil && os.Getenv("NO_COLOR") == "" && os.Getenv("TERM") != "dumb"
}

// fileFlags writes the flags that choose pipelines again, for a command that comes after this one.
func (a *app) fileFlags() string {
	var b strings.Builder
	for _, pattern := range a.files {
		b.WriteString(" -f '" + pattern + "'")
	}
	return b.String()
}
