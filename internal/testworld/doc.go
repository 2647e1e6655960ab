// Package testworld builds the surroundings that tests of many packages need: Git repositories and a Git server, an OCI registry,
// signing keys, and lock and pipeline files. Nothing is simulated: git is the git program, and the registry is the embedded one.
// Both listen on loopback, and everything is removed when the test ends.
//
// A test that needs a fault puts a function of its own in front of a server: see [Server.Intercept]. Nothing here waits for a
// time to pass, and no environment variable is set, so that every test can run in parallel.
//
// Only tests import this package; internal/architecture checks that. The tests inside of the packages that this one is made of
// (hydrate/lock, internal/git, oci and sign) cannot import it.
package testworld

import "testing"

// check ends the test if something failed.
func check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// must returns a function that returns the value, or ends the test if err is not nil.
func must[T any](value T, err error) func(testing.TB) T {
	return func(t testing.TB) T {
		t.Helper()
		check(t, err)
		return value
	}
}
