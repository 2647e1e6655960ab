package main

import (
	"encoding/json"
	"flag"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/google/go-github/v73/github"
	"github.com/rogpeppe/go-internal/testscript"
)

// call is what a receiver got.
type call struct {
	Path    string          `json:"path"`
	Headers http.Header     `json:"headers"`
	Body    json.RawMessage `json:"body"`
}

// cmdReceiver starts a server that writes down what it is sent.
func cmdReceiver(ts *testscript.TestScript, neg bool, args []string) {
	const usage = "receiver [-secret SECRET] [-answers CODE,CODE…] FILE"
	var flags flag.FlagSet
	secret := flags.String("secret", "", "")
	answers := flags.String("answers", "", "")
	ts.Check(flags.Parse(args))
	refuse(ts, neg || flags.NArg() != 1, usage)
	file := ts.MkAbs(flags.Arg(0))
	codes := strings.Split(*answers, ",")
	var mu sync.Mutex
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		body, err := io.ReadAll(r.Body)
		if err != nil || r.Method != http.MethodPost {
			http.Error(w, "not a POST", http.StatusMethodNotAllowed)
			return
		}
		if *secret != "" && !signed(r.Header, body, *secret) {
			http.Error(w, "HMAC verification failed", http.StatusBadRequest)
			return
		}
		if code, err := strconv.Atoi(codes[0]); err == nil {
			codes = append(codes[1:], "")
			w.Header().Set("Location", "/elsewhere")
			w.WriteHeader(code)
			if code/100 != 2 {
				return
			}
		}
		var calls []call
		if before, err := os.ReadFile(file); err == nil {
			_ = json.Unmarshal(before, &calls) // an empty file holds none
		}
		calls = append(calls, call{r.URL.Path, r.Header, body})
		slices.SortStableFunc(calls, func(a, b call) int { return strings.Compare(a.Path, b.Path) })
		data, _ := json.Marshal(calls)
		_ = os.WriteFile(file, data, 0o600)
	}))
	ts.Defer(server.Close)
	writeFile(ts, file, "")
	ts.Setenv("RECEIVER", server.URL)
}

// signed checks a signature as Flux does for a Receiver of the type generic-hmac, and Argo CD for an event of GitHub.
func signed(header http.Header, body []byte, secret string) bool {
	for _, name := range []string{"X-Signature", "X-Hub-Signature-256"} {
		if github.ValidateSignature(header.Get(name), body, []byte(secret)) == nil {
			return true
		}
	}
	return false
}
