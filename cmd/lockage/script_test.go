package main

import (
	"bytes"
	"context"
	"flag"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/lockage/lockage/hydrate"
	"github.com/lockage/lockage/hydrate/lock"
	"github.com/lockage/lockage/hydrate/worker"
	"github.com/lockage/lockage/sign/signtest"
)

var update = flag.Bool("update", false, "rewrite golden files")

func TestMain(m *testing.M) {
	if isRenderChild(os.Args) {
		if filepath.Base(os.Args[0]) == "lockage-other" {
			os.Exit(serveOtherRenders())
		}
		main()
	}
	testscript.Main(m, map[string]func(){
		"lockage":           main,
		"lockage-hasty":     runHasty,
		"lockage-other":     main,
		"sigstore-kms-test": signtest.Plugin,
		"xdg-open":          browser,
	})
}

// runHasty is the program with bounds on renders that a test reaches within seconds.
func runHasty() {
	time.Local = time.UTC
	a := &app{stdin: os.Stdin, stdout: os.Stdout, stderr: os.Stderr, stop: func() {}, bounds: worker.Bounds{
		Memory: 160 << 20, Stack: 8 << 20, Output: 1 << 20, Time: 3 * time.Second,
	}}
	os.Exit(a.run(context.Background(), os.Args[1:]))
}

// serveOtherRenders is a child of lockage-other, the program of a hydrator that renders something else: each Service has a line more.
func serveOtherRenders() int {
	err := worker.Serve(context.Background(), os.Stdin, os.Stdout, func(charts worker.Archives) map[string]hydrate.Renderer {
		return map[string]hydrate.Renderer{string(lock.Helm): otherRenderer{localRenderers(charts)[lock.Helm]}}
	})
	if err != nil {
		return exitFailed
	}
	return exitDone
}

type otherRenderer struct{ hydrate.Renderer }

func (r otherRenderer) Open(ctx context.Context, source hydrate.Source) (hydrate.Package, error) {
	p, err := r.Renderer.Open(ctx, source)
	return otherPackage{p}, err
}

type otherPackage struct{ hydrate.Package }

func (p otherPackage) Render(ctx context.Context, request hydrate.Request) (hydrate.Rendered, error) {
	rendered, err := p.Package.Render(ctx, request)
	for i, m := range rendered.Manifests {
		if bytes.Contains(m.Data, []byte("kind: Service\n")) {
			rendered.Manifests[i].Data = append(bytes.Clone(m.Data), "\nmine: true\n"...)
		}
	}
	return rendered, err
}

// TestScript runs every script of testdata/script in a fresh directory, against the real command, a real registry and
// real git remotes; $EXAMPLES is the folder of the examples. Beside testscript's own commands a script may use:
//
//	registry [-no-referrers] [-auth USER:PASSWORD] [-hang REGEXP] [-quirks NAME,NAME…] [NAME]
//		starts an empty registry on a loopback port; $REGISTRY (or $NAME) becomes its host:port. While the file hang exists,
//		requests that match («PUT /v2/…») get no answer; the first of them makes the file hung. Of the quirks (package
//		internal/quirks) genimage and resolves see nothing
//	wrongs
//		prints what was done to a registry with quirks that no client may do
//	fired
//		prints the quirks that changed an answer of the registry
//	gitserver DIR [USER:PASSWORD]
//		serves the bare repositories below DIR over smart HTTP; $GITSERVER becomes its URL
//	receiver [-secret SECRET] [-answers CODE,CODE…] FILE
//		starts a server at $RECEIVER that gives these answers first, and then 200. What it takes is in FILE, a JSON list of path, headers
//		and body, in the order of paths. Without a signature by the secret nothing is taken
//	fixture [-no-lock]
//		makes the source repository (source), the GitOps repository (gitops) and their bare remotes (remote/app.git,
//		remote/gitops.git), whose URLs are https://git.example.com/acme/ by insteadOf (at $GITSERVER, if one was started);
//		pushes an application image; makes the hydrator's key in $HYDRATOR_KEY; commits a lock unless -no-lock. Sets $COMMIT
//		beside what genimage sets
//	release VAR
//		makes another release of the fixture and pushes its lock to the policy ref; $VAR becomes its id
//	identity NAME…
//		makes a key for each: $NAME_KEY, and keys/NAME.pub in the GitOps repository, which stages commits
//	sigstore [log] [tsa] | sigstore stop|resume ca|log|tsa | sigstore sign-in SUBJECT | sigstore advance DURATION
//		starts a Sigstore instance with these services besides the certificate authority; $ISSUER becomes its URL, and the files
//		keys/trusted_root.json and keys/signing_config.json in the GitOps repository name it. Or changes the one that runs
//	token VAR SUBJECT
//		$VAR becomes a token of that instance for a subject
//	stages FILE
//		makes FILE the pipeline file, with $REGISTRY replaced, and pushes it and all else in gitops to the policy ref
//	genimage REF [REVISION]
//		pushes an application image of its own content; sets $IMAGE (REF), $DIGEST and $IMGTAG (img-sha256-<hex>)
//	exits CODE PROGRAM ARG…
//		runs a program that must end with exactly this status
//	capture NAME PROGRAM ARG…
//		runs a program; $NAME becomes its trimmed stdout
//	env-from-file NAME FILE
//		$NAME becomes the file's content
//	json PATH VALUE
//		the last stdout is one JSON value with VALUE at PATH (names and indices with dots between; len counts)
//	json-env NAME PATH
//		$NAME becomes the value at PATH
//	charts DIR
//		serves a folder over HTTP; $CHARTS becomes its URL
//	chart-push DIR oci://REPOSITORY|FOLDER
//		packs a chart, and puts it into a registry, or into a folder with an index.yaml of its own
//	chart-lock DIR VERSION…
//		writes the Chart.lock with these versions, in the order of Chart.yaml
//	retag REPOSITORY:TAG DIGEST
//		points a tag at a manifest of its repository, as anybody can who may write there
//	resolves REPOSITORY:TAG DIGEST
//		the tag names exactly that digest
//	tamper REPOSITORY@DIGEST VAR
//		pushes an artifact that is the same but for an annotation; $VAR becomes its digest
//	misrender KEYVAR REPOSITORY@DIGEST FILE VAR [COMMIT [PIPELINE-FILE]]
//		pushes an artifact whose FILE has one line more, with the statements of the first one about it, signed anew by the key in
//		$KEYVAR, which say that it was made from GitOps COMMIT and its PIPELINE-FILE, if they are given; $VAR becomes its digest
//	reattach FROM TO
//		copies what is signed of one REPOSITORY@DIGEST to another: referrers, whose subject becomes TO, and .sig
//	transfer REPOSITORY@DIGEST REPOSITORY
//		copies an artifact, with what is signed of it, to another repository
//	states KEYVAR REPOSITORY@DIGEST TYPE [PREDICATE]
//		attaches a statement of some type by the key in $KEYVAR, about what the artifact's annotations claim
//	rewrap REPOSITORY@DIGEST
//		attaches all bundles of an artifact once more, with other bytes around the same statements and signatures
//	poison REPOSITORY@DIGEST
//		attaches what nobody can read, in all forms
//	flood REPOSITORY@DIGEST COUNT
//		attaches so many bundles that prove nothing
//	lose
//		empties the registry at $REGISTRY
//	requests [REGISTRY]
//		prints how many requests of each kind the registry (default: $REGISTRY) got since the last call
//	page FILE
//		opens a document of the repository
//	step [CODE]
//		does its next step in the current folder: writes the YAML blocks that begin with «# PATH», runs the block of shell, which
//		must end with CODE, and looks for the lines of the block «text» in what that prints. ghcr.io is $REGISTRY, and
//		registry.internal:5000 is $INNER
//	lines [CODE…]
//		does its next step as a list of commands to choose from: each must end with its own CODE, and all are run
//	covered FILE TEXT
//		leaves its next step to the test in FILE, which has TEXT
//	reads TEXT VALUE
//		TEXT in the open document means VALUE from here on
//	tags REPOSITORY
//		prints the repository's tags, one a line; nothing for a repository that does not exist
func TestScript(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("scripts start registries and git servers")
	}
	p := scriptParams()
	p.Dir, p.UpdateScripts = "../../testdata/script", *update
	testscript.Run(t, p)
}

// scriptParams are what scripts run with.
func scriptParams() testscript.Params {
	return testscript.Params{
		Setup:              setup,
		RequireUniqueNames: true,
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"registry":      cmdRegistry,
			"lose":          cmdLose,
			"requests":      cmdRequests,
			"gitserver":     cmdGitServer,
			"fixture":       cmdFixture,
			"release":       cmdRelease,
			"identity":      cmdIdentity,
			"sigstore":      cmdSigstore,
			"token":         cmdToken,
			"stages":        cmdStages,
			"genimage":      cmdGenImage,
			"exits":         cmdExits,
			"capture":       cmdCapture,
			"env-from-file": cmdEnvFromFile,
			"json":          cmdJSON,
			"json-env":      cmdJSONEnv,
			"tags":          cmdTags,
			"retag":         cmdRetag,
			"resolves":      cmdResolves,
			"tamper":        cmdTamper,
			"misrender":     cmdMisrender,
			"reattach":      cmdReattach,
			"rewrap":        cmdRewrap,
			"poison":        cmdPoison,
			"states":        cmdStates,
			"flood":         cmdFlood,
			"transfer":      cmdTransfer,
			"charts":        cmdCharts,
			"chart-push":    cmdChartPush,
			"chart-lock":    cmdChartLock,
			"page":          cmdPage,
			"step":          cmdStep,
			"lines":         cmdLines,
			"reads":         cmdReads,
			"covered":       cmdCovered,
			"wrongs":        cmdWrongs,
			"fired":         cmdFired,
			"receiver":      cmdReceiver,
		},
	}
}

// setup makes for each script a home, a cache and a git identity of its own, and commits the same ids in every run.
func setup(env *testscript.Env) error {
	home := filepath.Join(env.WorkDir, "home")
	examples, err := filepath.Abs("../../examples")
	if err != nil {
		return err
	}
	if err := os.MkdirAll(home, 0o755); err != nil {
		return err
	}
	env.Vars = append(env.Vars,
		"HOME="+home,
		"EXAMPLES="+examples,
		"XDG_CACHE_HOME="+filepath.Join(home, ".cache"),
		"XDG_CONFIG_HOME="+filepath.Join(home, ".config"),
		"DOCKER_CONFIG="+filepath.Join(home, ".docker"),
		"GIT_CONFIG_NOSYSTEM=1",
		"GIT_TERMINAL_PROMPT=0",
		"GIT_AUTHOR_NAME=Ada", "GIT_AUTHOR_EMAIL=ada@example.com", "GIT_AUTHOR_DATE=2026-03-22T12:00:00Z",
		"GIT_COMMITTER_NAME=Ada", "GIT_COMMITTER_EMAIL=ada@example.com", "GIT_COMMITTER_DATE=2026-03-22T12:00:00Z",
		"COSIGN_PASSWORD=",
		"LC_ALL=C",
		"TZ=UTC",
	)
	return nil
}
