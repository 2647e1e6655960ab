package git

import "testing"

// TestLostRace goes by what git, its forges and libgit2 have answered to pushes.
func TestLostRace(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		reason, output string
		want           bool
	}{
		{"failed to update ref", "error: cannot lock ref 'refs/heads/x': is at 1111 but expected 2222", true},
		{"cannot lock ref 'refs/heads/x': is at 1111 but expected 2222", "", true},
		{"incorrect old value provided", "", true},
		{"failed to update ref", "error: cannot lock ref 'refs/heads/x': reference already exists", true},
		{"failed to update ref", "error: cannot lock ref 'refs/heads/x': Unable to create '/r/refs/heads/x.lock': File exists.", true},
		{"failed to update ref", "", true},
		{"failed to lock", " \n", true},
		{"failed to update ref", "error: cannot lock ref 'refs/heads/x/y': 'refs/heads/x' exists; cannot create 'refs/heads/x/y'", false},
		{"failed to update ref", "error: cannot lock ref 'refs/heads/x': Unable to create '/r/refs/heads/x.lock': Permission denied", false},
		{"failed to update ref", "error: cannot lock ref 'refs/heads/x': Unable to create '/r/refs/heads/x.lock': No space left on device", false},
		{"failed to update ref", "fatal: ref updates aborted by hook", false},
		{"cannot lock ref 'refs/heads/x': Read-only file system", "", false},
		{"pre-receive hook declined", "File exists", false},
		{"protected branch hook declined", "", false},
	} {
		if got := lostRace(c.reason, c.output); got != c.want {
			t.Errorf("lostRace(%q, %q) is %v", c.reason, c.output, got)
		}
	}
}
