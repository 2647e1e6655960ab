package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/random"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/remote/transport"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"github.com/rogpeppe/go-internal/testscript"

	"github.com/lockage/lockage/internal/testworld"
	"github.com/lockage/lockage/oci/registry"
)

// authVariable holds the USER:PASSWORD that genimage and tags show to the registry.
const authVariable = "REGISTRY_AUTH"

func cmdRegistry(ts *testscript.TestScript, neg bool, args []string) {
	var flags flag.FlagSet
	noReferrers := flags.Bool("no-referrers", false, "")
	auth := flags.String("auth", "", "")
	hang := flags.String("hang", "", "")
	odd := flags.String("quirks", "", "")
	ts.Check(flags.Parse(args))
	refuse(ts, neg || flags.NArg() > 1, "registry [-no-referrers] [-auth USER:PASSWORD] [-hang REGEXP] [-quirks NAME,NAME…] [NAME]")

	options := registry.Options{Deletes: true, WithoutReferrers: *noReferrers}
	served := registry.New(options)
	handler := basicAuth(served, "registry", *auth)
	if *hang != "" {
		handler = hanging(handler, regexp.MustCompile(*hang), ts.MkAbs("hang"), ts.MkAbs("hung"))
	}
	stored := &losable{handler: handler, kinds: map[string]int{}}
	server := httptest.NewServer(stored)
	wrap := func(handler http.Handler) http.Handler { return handler }
	if *odd != "" {
		wrap = quirky(ts, strings.TrimPrefix(server.URL, "http://"), strings.Split(*odd, ","))
		stored.replace(wrap(served))
	}
	counting.Store(strings.TrimPrefix(server.URL, "http://"), stored)
	losables.Store(strings.TrimPrefix(server.URL, "http://"), func(gone bool) {
		if gone {
			stored.replace(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusGone) }))
			return
		}
		after := registry.New(options)
		ts.Defer(func() { _ = after.Close() })
		stored.replace(wrap(basicAuth(after, "registry", *auth)))
	})
	ts.Defer(func() {
		server.Close()
		_ = served.Close()
	})
	variable := "REGISTRY"
	if flags.NArg() == 1 {
		variable = flags.Arg(0)
	}
	ts.Setenv(variable, strings.TrimPrefix(server.URL, "http://"))
	ts.Setenv(authVariable, *auth)
}

// losables are the registries that scripts may empty, by their address.
var losables sync.Map

// counting are all registries, by their address.
var counting sync.Map

// losable is a registry that can lose everything, and counts what it is asked for.
type losable struct {
	mu      sync.Mutex
	handler http.Handler
	kinds   map[string]int
}

func (l *losable) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	l.mu.Lock()
	handler := l.handler
	l.kinds[r.Method+" "+requestKind(r.URL.Path)]++
	l.mu.Unlock()
	handler.ServeHTTP(w, r)
}

// counted returns the requests since the last call, a line a kind.
func (l *losable) counted() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	var out strings.Builder
	total := 0
	for _, kind := range slices.Sorted(maps.Keys(l.kinds)) {
		total += l.kinds[kind]
		fmt.Fprintf(&out, "%3d %s\n", l.kinds[kind], kind)
	}
	l.kinds = map[string]int{}
	return out.String() + fmt.Sprintf("%3d in all\n", total)
}

// requestKind names what a path of a registry is about. It tells fallback tags from others.
func requestKind(path string) string {
	for _, k := range []struct{ part, kind string }{
		{"/manifests/sha256:", "manifest"},
		{".sig", "tag of signatures"},
		{"/manifests/sha256-", "index of referrers"},
		{"/manifests/", "tag"},
		{"/blobs/uploads/", "upload"},
		{"/blobs/", "blob"},
		{"/referrers/", "referrers"},
		{"/tags/", "list of tags"},
	} {
		if strings.Contains(path, k.part) {
			return k.kind
		}
	}
	return path
}

func cmdRequests(ts *testscript.TestScript, neg bool, args []string) {
	refuse(ts, neg || len(args) > 1, "requests [REGISTRY]")
	l, ok := counting.Load(ts.Getenv("REGISTRY"))
	if len(args) == 1 {
		l, ok = counting.Load(args[0])
	}
	refuse(ts, !ok, "requests: no such registry")
	_, err := io.WriteString(ts.Stdout(), l.(*losable).counted())
	ts.Check(err)
}

func (l *losable) replace(handler http.Handler) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.handler = handler
}

// cmdLose makes the registry lose all that it has, or go away for good: then it answers nothing else than that. Of a repository it
// loses single tags or manifests, or the layer of an artifact.
func cmdLose(ts *testscript.TestScript, neg bool, args []string) {
	lose, ok := losables.Load(ts.Getenv("REGISTRY"))
	refuse(ts, neg || !ok, "lose [-gone | -layer REPOSITORY@DIGEST | REFERENCE...]")
	switch {
	case len(args) == 0 || args[0] == "-gone":
		lose.(func(bool))(len(args) == 1)
	case args[0] == "-layer":
		ref, err := name.ParseReference(args[1])
		ts.Check(err)
		image, err := remote.Image(ref)
		ts.Check(err)
		layers, err := image.Layers()
		ts.Check(err)
		layer, err := layers[0].Digest()
		ts.Check(err)
		request, err := http.NewRequest(http.MethodDelete, fmt.Sprintf("http://%s/v2/%s/blobs/%s", ref.Context().RegistryStr(), ref.Context().RepositoryStr(), layer), nil)
		ts.Check(err)
		response, err := http.DefaultClient.Do(request)
		ts.Check(err)
		ts.Check(response.Body.Close())
		refuse(ts, response.StatusCode != http.StatusAccepted, "lose -layer: "+response.Status)
	default:
		for _, arg := range args {
			ref, err := name.ParseReference(arg)
			ts.Check(err)
			ts.Check(remote.Delete(ref))
		}
	}
}

func cmdGitServer(ts *testscript.TestScript, neg bool, args []string) {
	refuse(ts, neg || len(args) < 1 || len(args) > 2, "gitserver DIR [USER:PASSWORD]")
	auth := ""
	if len(args) == 2 {
		auth = args[1]
	}
	server := httptest.NewServer(basicAuth(testworld.GitBackend(ts.MkAbs(args[0])), "git", auth))
	ts.Defer(server.Close)
	ts.Setenv("GITSERVER", server.URL)
}

// hanging does not answer requests whose method and path match while the file while exists; the first of them makes the file
// hung.
func hanging(handler http.Handler, match *regexp.Regexp, while, hung string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if _, err := os.Stat(while); err == nil && match.MatchString(r.Method+" "+r.URL.Path) {
			_, _ = io.Copy(io.Discard, r.Body) // or the server does not notice that the client goes away
			_ = os.WriteFile(hung, nil, 0o600)
			<-r.Context().Done()
			return
		}
		handler.ServeHTTP(w, r)
	})
}

// basicAuth asks for "user:password"; an empty one lets everybody in.
func basicAuth(handler http.Handler, realm, auth string) http.Handler {
	if auth == "" {
		return handler
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		user, password, _ := r.BasicAuth()
		if user+":"+password != auth {
			w.Header().Set("WWW-Authenticate", `Basic realm="`+realm+`"`)
			http.Error(w, "unauthorized", http.StatusUnauthorized)
			return
		}
		handler.ServeHTTP(w, r)
	})
}

func cmdGenImage(ts *testscript.TestScript, neg bool, args []string) {
	refuse(ts, neg || len(args) < 1 || len(args) > 2, "genimage REF [REVISION]")
	layer, err := random.Layer(64, types.OCILayer)
	ts.Check(err)
	image, err := mutate.AppendLayers(mutate.ConfigMediaType(
		mutate.MediaType(empty.Image, types.OCIManifestSchema1), types.OCIConfigJSON), layer)
	ts.Check(err)
	if len(args) == 2 {
		file, err := image.ConfigFile()
		ts.Check(err)
		conf := file.Config
		conf.Labels = map[string]string{"org.opencontainers.image.revision": args[1]}
		image, err = mutate.Config(image, conf)
		ts.Check(err)
	}
	ref, err := name.ParseReference(behind(args[0]))
	ts.Check(err)
	ts.Check(remote.Write(ref, image, remote.WithAuth(registryAuth(ts))))
	digest, err := image.Digest()
	ts.Check(err)
	ts.Setenv("IMAGE", args[0])
	ts.Setenv("DIGEST", digest.String())
	ts.Setenv("IMGTAG", "img-sha256-"+digest.Hex)
}

func cmdTags(ts *testscript.TestScript, neg bool, args []string) {
	refuse(ts, neg || len(args) != 1, "tags REPOSITORY")
	repository, err := name.NewRepository(args[0])
	ts.Check(err)
	tags, err := remote.List(repository, remote.WithAuth(registryAuth(ts)))
	var response *transport.Error
	if errors.As(err, &response) && response.StatusCode == http.StatusNotFound {
		err = nil
	}
	ts.Check(err)
	_, err = io.WriteString(ts.Stdout(), strings.Join(append(tags, ""), "\n"))
	ts.Check(err)
}

func registryAuth(ts *testscript.TestScript) authn.Authenticator {
	user, password, ok := strings.Cut(ts.Getenv(authVariable), ":")
	if !ok {
		return authn.Anonymous
	}
	return &authn.Basic{Username: user, Password: password}
}

func cmdExits(ts *testscript.TestScript, neg bool, args []string) {
	refuse(ts, neg || len(args) < 2, "exits CODE PROGRAM ARG…")
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	execute(ts, want, args[1], args[2:]...)
}

// execute runs a program, which must end with an exit status.
func execute(ts *testscript.TestScript, want int, program string, args ...string) {
	if got := ended(ts, program, args...); got != want {
		ts.Fatalf("%s %s: exit status %d, want %d", program, strings.Join(args, " "), got, want)
	}
}

// ended runs a program, and returns its exit status.
func ended(ts *testscript.TestScript, program string, args ...string) int {
	err := ts.Exec(program, args...)
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		return exit.ExitCode()
	}
	if err != nil {
		ts.Fatalf("%s: %v", program, err)
	}
	return 0
}

func cmdCapture(ts *testscript.TestScript, neg bool, args []string) {
	refuse(ts, neg || len(args) < 2, "capture NAME PROGRAM ARG…")
	ts.Check(ts.Exec(args[1], args[2:]...))
	ts.Setenv(args[0], strings.TrimSpace(ts.ReadFile("stdout")))
}

func cmdEnvFromFile(ts *testscript.TestScript, neg bool, args []string) {
	refuse(ts, neg || len(args) != 2, "env-from-file NAME FILE")
	ts.Setenv(args[0], ts.ReadFile(args[1]))
}

func cmdJSON(ts *testscript.TestScript, neg bool, args []string) {
	refuse(ts, len(args) != 2, "json PATH VALUE")
	if got := lookUp(ts, args[0]); (got == args[1]) == neg {
		ts.Fatalf("%s is %q; the script says %q", args[0], got, args[1])
	}
}

func cmdJSONEnv(ts *testscript.TestScript, neg bool, args []string) {
	refuse(ts, neg || len(args) != 2, "json-env NAME PATH")
	got := lookUp(ts, args[1])
	if got == "" {
		ts.Fatalf("no value at %s", args[1])
	}
	ts.Setenv(args[0], got)
}

// lookUp reads one scalar of the last stdout; "" for null and for a missing one.
func lookUp(ts *testscript.TestScript, at string) string {
	decoder := json.NewDecoder(bytes.NewReader([]byte(ts.ReadFile("stdout"))))
	decoder.UseNumber()
	var value any
	ts.Check(decoder.Decode(&value))
	if _, err := decoder.Token(); !errors.Is(err, io.EOF) {
		ts.Fatalf("stdout holds more than one JSON value")
	}
	for _, step := range strings.Split(at, ".") {
		switch container := value.(type) {
		case map[string]any:
			value = container[step]
		case []any:
			if step == "len" {
				value = json.Number(strconv.Itoa(len(container)))
				continue
			}
			index, err := strconv.Atoi(step)
			if err != nil || index >= len(container) {
				ts.Fatalf("%s: %q is not an index into %d elements", at, step, len(container))
			}
			value = container[index]
		default:
			ts.Fatalf("%s: %q is below a scalar", at, step)
		}
	}
	switch value := value.(type) {
	case nil:
		return ""
	case string:
		return value
	case json.Number:
		return value.String()
	case bool:
		return strconv.FormatBool(value)
	default:
		ts.Fatalf("%s is not a scalar", at)
		return ""
	}
}

func refuse(ts *testscript.TestScript, wrong bool, usage string) {
	if wrong {
		ts.Fatalf("usage: %s", usage)
	}
}
