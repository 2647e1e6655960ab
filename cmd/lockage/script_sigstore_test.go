package main

import (
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/lockage/lockage/sign/signtest"
)

// sigstores are the running instances, by URL.
var sigstores sync.Map

const sigstoreUsage = "sigstore [log] [tsa] | sigstore stop|resume ca|log|tsa | sigstore sign-in SUBJECT | sigstore advance DURATION"

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
		case "sign-in":
			s.SignIn(args[1])
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

// browser is the program xdg-open: another process visits the page, as a browser does, while this one returns. While
// BROWSER_INTERRUPTS is set, the person interrupts the login instead.
func browser() {
	const visits = "BROWSER_VISITS"
	switch {
	case os.Getenv("BROWSER_INTERRUPTS") != "":
		if parent, err := os.FindProcess(os.Getppid()); err == nil {
			_ = parent.Signal(os.Interrupt)
		}
	case os.Getenv(visits) != "":
		if response, err := http.Get(os.Args[1]); err == nil {
			_ = response.Body.Close()
		}
	default:
		visit := exec.Command("xdg-open", os.Args[1])
		visit.Env = append(os.Environ(), visits+"=1")
		if err := visit.Start(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
	}
}

// cmdToken makes a token.
func cmdToken(ts *testscript.TestScript, neg bool, args []string) {
	refuse(ts, neg || len(args) != 2, "token VAR SUBJECT")
	running, ok := sigstores.Load(ts.Getenv("ISSUER"))
	refuse(ts, !ok, "token VAR SUBJECT, after sigstore")
	ts.Setenv(strings.TrimPrefix(args[0], "$"), running.(*signtest.Sigstore).Token(args[1]))
}
