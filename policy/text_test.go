package policy_test

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/lockage/lockage/policy"
)

func results() []policy.GateResult {
	then := time.Date(2026, 3, 24, 14, 0, 0, 0, time.UTC)
	return []policy.GateResult{
		{Gate: "soak", Result: policy.Pending, Reason: "live in test since 12:00", RetryAfter: &then},
		{Gate: "attestation#2", Result: policy.Waived, Reason: "by `sre` & co: @all [x](https://evil.example) <img src=x>\n| a | ```"},
		{Gate: "cel", Result: policy.Pass, Reason: "\x1b[31mred\u202e"},
		{Gate: "file", Result: policy.Fail, Reason: ""},
	}
}

func TestText(t *testing.T) {
	t.Parallel()
	want := "  pending  soak           live in test since 12:00 (ask again at 2026-03-24 14:00:00 UTC)\n" +
		"  waived   attestation#2  by `sre` & co: @all [x](https://evil.example) <img src=x> | a | ```\n" +
		"  pass     cel            \\u001b[31mred\\u202e\n" +
		"  fail     file           \n"
	if diff := cmp.Diff(want, policy.Text(results())); diff != "" {
		t.Error(diff)
	}
}

func TestMarkdown(t *testing.T) {
	t.Parallel()
	want := "Gates: **fail**\n\n" +
		"- ⏳ pending `soak`: `live in test since 12:00 (ask again at 2026-03-24 14:00:00 UTC)`\n" +
		"- ⚠️ waived `attestation#2`: ```` by `sre` & co: @all [x](https://evil.example) <img src=x> | a | ``` ````\n" +
		"- ✅ pass `cel`: `\\u001b[31mred\\u202e`\n" +
		"- ❌ fail `file`: `  `\n"
	if diff := cmp.Diff(want, policy.Markdown(results())); diff != "" {
		t.Error(diff)
	}
	if got := policy.Markdown(nil); got != "Gates: **pass**\n\n- no gate is declared\n" {
		t.Errorf("%q", got)
	}
}
