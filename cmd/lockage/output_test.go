package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"unicode"
)

type words string

func (ws words) Text(w io.Writer) { fmt.Fprintln(w, string(ws)) }

// TestHostileWords checks that text from a statement, a manifest or an answer moves no cursor, begins no paragraph outside of its
// block, and cannot act as a command to the runner that reads the log.
func TestHostileWords(t *testing.T) {
	const hostile = "a\x1b[2Jb\rc\u009bd\u202ee\xff ##[set-output name=x]y ##vso[task.setvariable variable=x]z\n  ::add-mask::z"
	const want = `a\u001b[2Jb\u000dc\u009bd\u202ee\ufffd # #[set-output name=x]y # #vso[task.setvariable variable=x]z` + "\n  : :add-mask::z"
	summary := filepath.Join(t.TempDir(), "summary")
	t.Setenv("GITHUB_ACTIONS", "true")
	t.Setenv("GITHUB_OUTPUT", "")
	t.Setenv("GITHUB_STEP_SUMMARY", summary)
	var stdout, stderr strings.Builder
	a := &app{stdout: &stdout, stderr: &stderr, format: "text"}
	a.emit(words(hostile))
	a.warn("%s", hostile)
	a.finish(errors.New(hostile))
	if got := stdout.String(); got != want+"\n" {
		t.Errorf("stdout %q", got)
	}
	if got := stderr.String(); got != "lockage: "+want+"\n"+"lockage: "+want+"\n" {
		t.Errorf("stderr %q", got)
	}
	got, err := os.ReadFile(summary)
	if err != nil {
		t.Fatal(err)
	}
	block := "    " + strings.ReplaceAll(want, "\n", "\n    ")
	if string(got) != block+"\n"+block+"\n\n" {
		t.Errorf("summary %q", got)
	}
	stdout.Reset()
	a = &app{stdout: &stdout, stderr: io.Discard, format: "json"}
	a.finish(errors.New(hostile))
	got = []byte(stdout.String())
	if bytes.Contains(got, []byte("##")) || bytes.ContainsFunc(got, func(r rune) bool { return r != '\n' && !unicode.IsPrint(r) }) {
		t.Errorf("JSON %q", got)
	}
	var doc document
	if err := json.Unmarshal(got, &doc); err != nil || doc.Error != strings.ToValidUTF8(hostile, "\ufffd") {
		t.Errorf("JSON reads as %q, %v", doc.Error, err)
	}
}
