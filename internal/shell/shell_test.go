package shell

import (
	"os/exec"
	"testing"
)

func TestQuote(t *testing.T) {
	t.Parallel()
	for _, word := range []string{"", "a b", "it's", "$HOME `id` \"x\" \\", "!!", "-n\n'!'"} {
		if out, err := exec.Command("sh", "-c", "printf %s "+Quote(word)).Output(); err != nil || string(out) != word {
			t.Errorf("%q: %q, %v", word, out, err)
		}
	}
}
