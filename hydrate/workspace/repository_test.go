package workspace_test

import (
	"testing"

	"github.com/lockage/lockage/hydrate/workspace"
	"github.com/lockage/lockage/internal/testworld"
)

// repository makes a checkout without a remote, of one commit.
func repository(t *testing.T, files map[string]string) string {
	t.Helper()
	dir, _ := testworld.Checkout(t, files)
	return dir
}

func commit(t *testing.T, dir string) string {
	t.Helper()
	return string(testworld.Commit(t, dir, "change"))
}

func open(t *testing.T, dir string) *workspace.Workspace {
	t.Helper()
	w, err := workspace.Open(t.Context(), dir, testworld.GitOptions(t), nil)
	if err != nil {
		t.Fatal(err)
	}
	return w
}
