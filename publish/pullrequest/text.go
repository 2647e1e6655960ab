package pullrequest

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"strings"

	"github.com/lockage/lockage/hydrate/diff"
	"github.com/lockage/lockage/internal/terminal"
)

// minChanges is the minimum room for the changes, in bytes.
const minChanges = 4096

// title returns the pull request's title: «pipeline/stage: release».
func (p Proposal) title() string {
	return fmt.Sprintf("%s: %s", p.argument(), p.Release)
}

// argument names the stage as every checkout's commands take it, whichever pipelines they read.
func (p Proposal) argument() string { return p.Pipeline + "/" + p.Stage }

// body writes the description, within the forge's limit.
func (k keeper) body(p Proposal, changes diff.Changes, known bool) (string, error) {
	limit := k.forge.MaxBody()
	var b bytes.Buffer
	stage := code(p.argument())
	fmt.Fprintf(&b, "%s is to run release %s.\n\n| | |\n|---|---|\n", stage, code(p.Release))
	for _, row := range []struct{ name, value, link string }{
		{"source", p.Source.Commit, k.link(p.Source)},
		{"rendered by", p.GitOps.Commit, k.link(p.GitOps)},
		{"image", p.Image, ""},
		{"artifact", p.Reference(), ""},
		{"content", p.Content.String(), ""},
		{"compared with", p.Branch + "@" + p.On, ""},
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
	if len(p.Waits) > 0 {
		waits := make([]string, len(p.Waits))
		for i, name := range p.Waits {
			waits[i] = code(name)
		}
		fmt.Fprintf(&b, "\nBeside this review, the stage asks for: %s.\n", strings.Join(waits, ", "))
	}
	fmt.Fprintf(&b, "\n%s\n\n### What changes in %s\n\n", p.next(), stage)
	room := min(limit-maxMark-b.Len(), diff.MarkdownLimit)
	if room < minChanges {
		return "", fmt.Errorf("%d bytes are too few for the text of a pull request", limit)
	}
	if !known { // the error quotes the files
		b.WriteString("⚠️ The files on the branch now are not a set of Kubernetes objects, and all of them are replaced: look at the changed files.\n")
	} else if changes.Empty() {
		b.WriteString("No object changes.\n")
	} else if err := changes.WriteMarkdown(&b, diff.MarkdownOptions{Limit: room, Link: k.forge.CommitURL(p.Remote, p.Commit)}); err != nil {
		return "", err
	}
	return b.String(), nil
}

func (p Proposal) next() string {
	if p.Mirror.ShowsLive() {
		return fmt.Sprintf("**Approve this, and do not merge it.** An approval counts for this head commit only. When all gates of the stage pass, "+
			"`lockage promote %s` merges it; the status %s shows what is missing. A merge by hand deploys what nobody promoted.",
			plain(p.argument()), code(StatusContext(p.Stage)))
	}
	return fmt.Sprintf("**Merge this** if the stage may have it. `lockage promote %s` promotes what is merged, byte for byte, and nothing else.", plain(p.argument()))
}

// code returns text in a code span that neutralises markup, also in a table.
func code(s string) string { return "`" + strings.ReplaceAll(plain(s), "|", "/") + "`" }

// plain replaces the characters that end a line or a code span.
func plain(s string) string { return strings.ReplaceAll(terminal.Blank(s), "`", "'") }

// link keeps a URL within the parentheses of a Markdown link and the cell of a table.
func link(url string) string {
	return strings.NewReplacer("(", "%28", ")", "%29", " ", "%20", "|", "%7C", "<", "%3C", ">", "%3E", "\\", "%5C").Replace(plain(url))
}

// maxMark bounds the first line of a text, in bytes.
const maxMark = 128

// seal adds a first line with the key of the text's sources and a hash of the text.
func seal(key, text string) string {
	return fmt.Sprintf("<!-- lockage %s %s -->\n%s", key, hash(text), text)
}

// sealed reports whether a text has the key, and was not edited. Forges change line ends and trim.
func sealed(key, body string) bool {
	body = strings.ReplaceAll(body, "\r\n", "\n")
	first, text, ok := strings.Cut(body, "\n")
	return ok && strings.TrimSpace(first) == fmt.Sprintf("<!-- lockage %s %s -->", key, hash(text))
}

// hash returns a short hash: it detects edits, and proves nothing against an attacker.
func hash(text string) string {
	sum := sha256.Sum256([]byte(strings.TrimSpace(text)))
	return fmt.Sprintf("%x", sum[:16])
}
