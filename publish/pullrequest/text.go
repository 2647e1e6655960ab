package pullrequest

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"strings"

	"github.com/lockage/lockage/hydrate/diff"
	"github.com/lockage/lockage/internal/terminal"
)

// minChanges is the room in bytes that the changes need at least.
const minChanges = 4096

// title is the pull request's: «pipeline/stage: release».
func (p Proposal) title() string {
	verb := ""
	if p.RollBack {
		verb = "back to "
	}
	return fmt.Sprintf("%s/%s: %s%s", p.Pipeline, p.Stage, verb, p.Release)
}

// body writes the description in at most limit bytes.
func (p Proposal) body(changes diff.Changes, known bool, limit int) (string, error) {
	var b bytes.Buffer
	stage := code(p.Pipeline + "/" + p.Stage)
	fmt.Fprintf(&b, "%s is to run release %s.\n\n| | |\n|---|---|\n", stage, code(p.Release))
	for _, row := range []struct{ name, value, link string }{
		{"source", p.Source.Commit, p.Source.Link},
		{"rendered by", p.GitOps.Commit, p.GitOps.Link},
		{"image", p.Image, ""},
		{"artifact", p.Artifact, ""},
		{"content", p.Content, ""},
		{"compared with", p.Base + "@" + p.On, ""},
	} {
		if row.value == "" {
			continue
		}
		value := code(row.value)
		if row.link != "" {
			value = fmt.Sprintf("[%s](%s)", value, link(row.link))
		}
		fmt.Fprintf(&b, "| %s | %s |\n", row.name, value)
	}
	fmt.Fprintf(&b, "\n%s\n\n### What changes in %s\n\n", p.next(), stage)
	room := min(limit-maxMark-b.Len(), diff.MarkdownLimit)
	if room < minChanges {
		return "", fmt.Errorf("%d bytes are too few for the text of a pull request", limit)
	}
	if !known { // why has words of the files in it
		b.WriteString("⚠️ The files that are there now are not a set of Kubernetes objects, and all of them are replaced: look at the changed files.\n")
	} else if changes.Empty() {
		b.WriteString("No object changes.\n")
	} else if err := changes.WriteMarkdown(&b, diff.MarkdownOptions{Limit: room, Link: p.Link}); err != nil {
		return "", err
	}
	return b.String(), nil
}

// next tells people how it goes on.
func (p Proposal) next() string {
	switch {
	case p.RollBack:
		return fmt.Sprintf("**Merge this to roll back.** %s is protected, so that lockage could not write it itself. The files are those that were live "+
			"before; the next run of `lockage promote` or `lockage rollback` moves the registry's tag.", code(p.Base))
	case p.Promotes:
		return fmt.Sprintf("**Approve this, and do not merge it.** An approval counts for this head commit only. When all gates of the stage pass, "+
			"`lockage promote %s` merges it; the status %s shows what is missing. A merge by hand deploys what nobody promoted.",
			plain(p.Stage), code(StatusContext(p.Stage)))
	}
	return fmt.Sprintf("**Merge this** if the stage may have it. `lockage promote %s` lets run what is merged, byte for byte, and nothing else.", plain(p.Stage))
}

// code is text in a code span, in which nothing takes effect, also in a table.
func code(s string) string { return "`" + strings.ReplaceAll(plain(s), "|", "/") + "`" }

// plain leaves out what ends a line or a code span.
func plain(s string) string { return strings.ReplaceAll(terminal.Blank(s), "`", "'") }

// link keeps a URL within the parentheses of a Markdown link and the cell of a table.
func link(url string) string {
	return strings.NewReplacer("(", "%28", ")", "%29", " ", "%20", "|", "%7C", "<", "%3C", ">", "%3E", "\\", "%5C").Replace(plain(url))
}

// maxMark is the length in bytes of a text's first line.
const maxMark = 128

// seal puts a line before the text that says what it was made from, and how it was.
func seal(key, text string) string {
	return fmt.Sprintf("<!-- lockage %s %s -->\n%s", key, hash(text), text)
}

// sealed tells whether a text was made from the same, and is as it was made. Forges change line ends and trim.
func sealed(key, body string) bool {
	body = strings.ReplaceAll(body, "\r\n", "\n")
	first, text, ok := strings.Cut(body, "\n")
	return ok && strings.TrimSpace(first) == fmt.Sprintf("<!-- lockage %s %s -->", key, hash(text))
}

// hash is short: it tells edits, and is no proof against anybody.
func hash(text string) string {
	sum := sha256.Sum256([]byte(strings.TrimSpace(text)))
	return fmt.Sprintf("%x", sum[:16])
}
