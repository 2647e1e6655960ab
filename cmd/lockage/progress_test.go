package main

import "testing"

func TestColoured(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"web/staging: promoted git-1\n  pass  order  it failed before\n": "web/staging: " + green + "promoted" + plain + " git-1\n  " + green + "pass" + plain + "  order  it failed before\n",
		"web/qa: denied git-1\n  fail  soak  pending\n":                  "web/qa: " + red + "denied" + plain + " git-1\n  " + red + "fail" + plain + "  soak  pending\n",
		"  staging  failed  passed\n":                                    "  staging  " + red + "failed" + plain + "  passed\n",
		"  soak: pending: 1h of 2h\n":                                    "  soak: " + yellow + "pending" + plain + ": 1h of 2h\n",
		"  qa  git-1  -  DRIFT  git-2\n":                                 "  qa  git-1  -  " + red + "DRIFT" + plain + "  git-2\n",
		"failed, passed\n":                                               "failed, passed\n",
	} {
		if got := coloured(text); got != want {
			t.Errorf("%q: got %q, want %q", text, got, want)
		}
	}
}
