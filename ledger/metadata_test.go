package ledger

import (
	"encoding/json"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/lockage/lockage/internal/git"
)

// TestDescribe reads messages as people and tools write them.
func TestDescribe(t *testing.T) {
	t.Parallel()
	when := time.Date(2026, 3, 22, 12, 0, 0, 0, time.UTC)
	for name, test := range map[string]struct{ message, subject, body string }{
		"one line":           {"Say hello\n", "Say hello", ""},
		"a wrapped subject":  {"Say\nhello\n\nWhy not?\n", "Say hello", "Why not?"},
		"of Windows":         {"Say hello\r\n\r\nWhy not?\r\nIndeed.\r\n", "Say hello", "Why not?\nIndeed."},
		"empty":              {"", "", ""},
		"blank lines first":  {"\n\nSay hello\n\n\n\nWhy not?\n", "Say hello", "Why not?"},
		"in another charset": {"Gr\xfc\xdfe\n\nSch\xf6n\n", "Gr\ufffde", "Sch\ufffdn"},
	} {
		var m Metadata
		m.describe(git.Commit{Author: git.Signature{Name: "Ada", Email: "ada@example.com"}, Authored: when, Message: test.message})
		if m.Author != "Ada <ada@example.com>" || m.Date != "2026-03-22T12:00:00Z" || m.Subject != test.subject || m.Body != test.body {
			t.Errorf("%s: got %+v", name, m)
		}
	}
	var m Metadata
	m.describe(git.Commit{Author: git.Signature{Name: strings.Repeat("ä", 1000)}, Message: strings.Repeat("ö", 5000) + "\n\n" + strings.Repeat("ü", 50_000)})
	data, err := json.Marshal(m)
	if err != nil || len(data) > 2*maxSubject+maxBody+1000 || !utf8.Valid(data) {
		t.Errorf("%d bytes, %v", len(data), err)
	}
}
