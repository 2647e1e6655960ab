package main

import (
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/lockage/lockage/sign/signtest"
)

// sigstores are the running instances, by URL.
var sigstores sync.Map

const sigstoreUsage = "sigstore [log] [tsa] | sigstore stop|resume ca|log|tsa | sigstore advance DURATION"

// cmdSigstore starts a Sigstore instance or changes the one that runs.
func cmdSigstore(ts *testscript.TestScript, neg bool, args []string) {
	refuse(ts, neg || len(args) == 0, sigstoreUsage)
	if running, ok := sigstores.Load(ts.Getenv("ISSUER")); ok && len(args) == 2 {
		s := running.(*signtest.Sigstore)
		switch args[0] {
		case "stop":
			s.Stop(args[1])
			return
		case "resume":
			s.Resume(args[1])
			return
		case "advance":
			d, err := time.ParseDuration(args[1])
			ts.Check(err)
			s.Advance(d)
			return
		}
	}
	s, stop, err := signtest.Start()
	ts.Check(err)
	ts.Defer(stop)
	sigstores.Store(s.URL, s)
	ts.Setenv("ISSUER", s.URL)
	trusted, err := s.TrustedRoot(args...)
	ts.Check(err)
	config, err := s.SigningConfig(args...)
	ts.Check(err)
	writeFile(ts, filepath.Join(ts.Getenv("WORK"), "gitops", "keys", "trusted_root.json"), string(trusted))
	writeFile(ts, filepath.Join(ts.Getenv("WORK"), "gitops", "keys", "signing_config.json"), string(config))
}

// cmdToken makes a token.
func cmdToken(ts *testscript.TestScript, neg bool, args []string) {
	refuse(ts, neg || len(args) != 2, "token VAR SUBJECT")
	running, ok := sigstores.Load(ts.Getenv("ISSUER"))
	refuse(ts, !ok, "token VAR SUBJECT, after sigstore")
	ts.Setenv(strings.TrimPrefix(args[0], "$"), running.(*signtest.Sigstore).Token(args[1]))
}
