package main

import (
	"bufio"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/lockage/lockage/hydrate/lock"
	"github.com/lockage/lockage/hydrate/pipeline/scaffold"
	"github.com/lockage/lockage/hydrate/workspace"
	"github.com/lockage/lockage/internal/git"
	"github.com/lockage/lockage/internal/shell"
)

// The places of what init writes, in the GitOps repository.
const (
	defaultsFile    = "pipeline-defaults.yaml"
	pipelinesFolder = "pipelines"
	keysFolder      = "keys"
	noKeys          = "none" // the value of --keys
)

type initResult struct {
	Files       []string       `json:"files"` // written, relative to the repository's root
	PrivateKeys []string       `json:"privateKeys,omitempty"`
	Source      string         `json:"source"`
	GitCommit   string         `json:"gitCommit"`
	DryRun      bool           `json:"dryRun,omitempty"`
	Pipelines   []initPipeline `json:"pipelines"`
	Next        []string       `json:"next"` // commands

	broken   bool           // no stage renders
	contents []scaffoldFile // in a dry run
}

type initPipeline struct {
	Pipeline   string      `json:"pipeline"`
	File       string      `json:"file,omitempty"` // "" for one that is left out
	Kind       lock.Kind   `json:"kind"`
	SourcePath string      `json:"sourcePath"`
	Chart      string      `json:"chart,omitempty"` // URL of an upstream chart
	Release    string      `json:"release,omitempty"`
	Stages     []initStage `json:"stages"`
}

type initStage struct {
	Stage   string `json:"stage"`
	LeftOut string `json:"leftOut,omitempty"` // why it does not render, and is commented out unless no stage renders
}

// scaffoldFile is a file to write.
type scaffoldFile struct {
	path string
	data []byte
}

func (r initResult) Text(w io.Writer) {
	dry := ""
	if r.DryRun {
		dry = " (dry run: nothing was written)"
		for _, f := range r.contents {
			fmt.Fprintf(w, "# %s\n%s\n", f.path, f.data)
		}
	}
	if r.Source != "" {
		fmt.Fprintf(w, "%s at %.12s%s\n", r.Source, r.GitCommit, dry)
	}
	reasons, leftOut := []string{}, map[string][]string{}
	table(w, func(w io.Writer) {
		for _, p := range r.Pipelines {
			var names []string
			for _, s := range p.Stages {
				if s.LeftOut == "" {
					names = append(names, s.Stage)
					continue
				}
				if leftOut[s.LeftOut] == nil {
					reasons = append(reasons, s.LeftOut)
				}
				leftOut[s.LeftOut] = append(leftOut[s.LeftOut], p.Pipeline+"/"+s.Stage)
			}
			fmt.Fprintf(w, "  %s\t%s %s\t%s\n", p.Pipeline, p.Kind, cmp.Or(p.Chart, p.SourcePath), cmp.Or(someOf(names), "-"))
		}
	})
	verdict := "Left out"
	if r.broken {
		verdict = "Does not render yet:"
	}
	for _, reason := range reasons[:min(len(reasons), longList)] {
		fmt.Fprintf(w, verdict+" %s: %s\n", few(leftOut[reason]), strings.Join(strings.Fields(reason), " "))
	}
	if more := len(reasons) - longList; more > 0 {
		fmt.Fprintf(w, "%d more reasons are in the comments of the files, and in -o json\n", more)
	}
	if len(r.Files) > 0 {
		var places []string
		for _, name := range r.Files {
			if folder, _, below := strings.Cut(name, "/"); below {
				name = folder + "/"
			}
			places = append(places, name)
		}
		slices.Sort(places)
		fmt.Fprintf(w, "Wrote %s: %s\n", counted(len(r.Files), "file"), strings.Join(slices.Compact(places), ", "))
	}
	if len(r.PrivateKeys) > 0 {
		fmt.Fprintf(w, "Private keys, which stay outside of the repository: %s\n", strings.Join(r.PrivateKeys, ", "))
	}
	if len(r.Next) > 0 {
		fmt.Fprintf(w, "Next:\n  %s\n", strings.Join(r.Next, "\n  "))
	}
}

// someOf lists the first of some stages.
func someOf(names []string) string {
	const shown = 5
	if more := len(names) - shown; more > 0 {
		names = append(names[:shown:shown], fmt.Sprintf("%d more", more))
	}
	return strings.Join(names, ", ")
}

func newInitCommand(a *app) *cobra.Command {
	i := initializer{app: a}
	cmd := &cobra.Command{
		Use:   "init",
		Short: "Write the pipeline file of a repository, with keys and a first lock",
		Long: `Init looks at a repository and writes what lockage needs: pipeline files with comments, the lock of a first release, and keys. It knows
Helm charts and the values files of environments, kustomizations and their overlays, folders APP/deployments/STAGE with envTypes and
.disabled, locks, and Argo CD's Applications and ApplicationSets.

The package is in another repository, which --source names, or in this one. One application gives lockage.yaml, several give
pipelines/NAME.yaml, which extend pipeline-defaults.yaml. Every stage is rendered once: one that does not render is commented out, with the
reason, unless there is no other. Init overwrites nothing, and writes private keys outside of the checkout.

With --chart, the package is an upstream chart, as its repository has it packed. Those that Argo CD's Applications deploy are found.

What it cannot know it asks for at a terminal, and else the error names the flag.`,
		Example: `  lockage init
  lockage init --source https://github.com/acme/shop.git --artifacts ghcr.io/acme/shop-manifests --image ghcr.io/acme/shop:v1.2.3
  lockage init --source-path charts/shop --stages dev,staging,production
  lockage init --chart oci://ghcr.io/stefanprodan/charts/podinfo --chart-version '^6'
  lockage init --dry-run`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return i.run(cmd.Context()) },
	}
	f := cmd.Flags()
	f.StringVar(&i.source, "source", "", "`URL` of the repository that has the chart or kustomization (default: that of the current lock, or this repository)")
	f.StringArrayVar(&i.options.SourcePaths, "source-path", nil, "`PATH` or glob of a package in the source repository; repeatable (default: all)")
	f.StringVar(&i.options.Chart, "chart", "", "`URL` of an upstream chart, oci://HOST/PATH/NAME or https://HOST/PATH/NAME, instead of a source repository")
	f.StringVar(&i.options.Versions, "chart-version", "", "`RANGE` of the chart's versions: the highest one of it is the first release (default: any)")
	f.StringVar(&i.shared.Artifacts, "artifacts", "", "`REPOSITORY` of the signed manifests (default: the registry of GitHub or GitLab, if the repository is there)")
	f.StringVar(&i.image, "image", "", "`REF` of the application's image for the first lock, repository and tag (default: none)")
	f.StringVar(&i.digest, "digest", "", "`DIGEST` of the image (default: that of its tag in the registry)")
	f.StringSliceVar(&i.options.Stages, "stages", []string{"staging", "production"}, "`NAMES` of stages, in their order, for packages without environments")
	f.StringVar(&i.shared.KubeVersion, "kube-version", "1.34", "`VERSION` of the clusters' Kubernetes")
	f.StringVar(&i.keys, "keys", "", "`DIR` for the private keys, outside of a checkout; none for no keys (default: ~/.lockage and the repository's name)")
	dryRunFlag(cmd, &i.dryRun)
	return cmd
}

type initializer struct {
	app           *app
	source        string
	image, digest string
	keys          string
	password      []byte // for new private keys
	dryRun        bool
	options       scaffold.Options
	shared        scaffold.Shared

	workspace *workspace.Workspace
	remote    *git.Remote // of the source
	commit    git.Hash
	drafts    []scaffold.Draft
	result    initResult
}

func (i *initializer) run(ctx context.Context) (err error) {
	if i.options.Chart != "" && i.source+i.image+i.digest+strings.Join(i.options.SourcePaths, "") != "" {
		return usagef("--source, --source-path, --image and --digest are of a package in a repository: leave them out for an upstream chart")
	}
	if i.options.Chart == "" && i.options.Versions != "" {
		return usagef("--chart-version is of the chart that --chart names: name that too, or leave --chart-version out")
	}
	if i.workspace, err = i.app.workspace(ctx); err != nil {
		return err
	}
	if err := i.find(ctx); err != nil {
		return err
	}
	if files := i.files(); len(files) > 0 && !i.dryRun { // before it asks anything
		if err := absent(i.workspace.Root(), files[:1]); err != nil {
			return err
		}
	}
	if err := i.chooseArtifacts(ctx); err != nil {
		return err
	}
	if err := i.planKeys(ctx); err != nil {
		return err
	}
	locks, err := i.lock(ctx)
	if err != nil {
		return err
	}
	if err := i.try(ctx, locks); err != nil {
		return err
	}
	files := append(i.files(), locks...)
	if !i.dryRun {
		if err := i.write(files); err != nil {
			return err
		}
	}
	i.finish(files)
	i.app.emit(list[initResult]{i.result})
	return nil
}

// find opens the source, and finds what is in both repositories.
func (i *initializer) find(ctx context.Context) error {
	worktree, err := i.workspace.WorkTree()
	if err != nil {
		return err
	}
	if i.options.Chart != "" {
		i.options.SameSource = true
		i.drafts, err = scaffold.Find(worktree, worktree, i.options)
		return err
	}
	own, err := i.ownURL(ctx)
	if err != nil {
		return err
	}
	i.source = cmp.Or(i.source, scaffold.LockedSource(worktree), own)
	if i.source == "" {
		if i.source, err = i.app.ask("URL of the repository that has the chart or kustomization", "", "--source"); err != nil {
			return err
		}
	}
	if err := lock.CheckRepository(i.source); err != nil {
		return usagef("--source %w", err)
	}
	if i.remote, err = i.workspace.Repository.Remote(ctx, i.source); err != nil {
		return err
	}
	i.options.SameSource, i.options.Warn = i.source == own, i.app.warning
	i.options.Repository, i.options.Images = repositoryName(i.source), i.image != ""
	if i.commit, _, err = i.remote.Tip(ctx, ""); err != nil {
		if i.options.SameSource && errors.Is(err, git.ErrNotFound) {
			return usagef("%w; if the chart or kustomization is in this repository, push it first (git push -u origin HEAD), else name its repository with --source URL", err)
		}
		return fmt.Errorf("source repository: %w", err)
	}
	snapshot, err := i.remote.Snapshot(ctx, i.commit)
	if err != nil {
		return err
	}
	i.drafts, err = scaffold.Find(worktree, snapshot.FS(ctx), i.options)
	if errors.Is(err, scaffold.ErrNothing) {
		return usagef("%s at %.12s has %w%s: name the repository that has them with --source URL, or the folder with --source-path PATH, or a chart of others with --chart URL", i.source, i.commit, err, i.below())
	}
	return err
}

func (i *initializer) below() string {
	if len(i.options.SourcePaths) == 0 {
		return ""
	}
	return " at " + strings.Join(i.options.SourcePaths, ", ")
}

// ownURL returns the URL of this repository's remote, without a password; "" if it has none.
func (i *initializer) ownURL(ctx context.Context) (string, error) {
	remotes, err := i.workspace.Repository.Remotes(ctx)
	if err != nil || len(remotes) == 0 {
		return "", err
	}
	name := remotes[0]
	if slices.Contains(remotes, "origin") {
		name = "origin"
	}
	remote, err := i.workspace.Repository.Remote(ctx, name)
	if err != nil {
		return "", err
	}
	written := remote.Written()
	if u, err := url.Parse(written); err == nil && u.Host != "" && u.Scheme != "ssh" && u.User != nil {
		u.User = nil
		written = u.String()
	}
	return written, nil
}

// repositoryName returns the last part of a repository's URL.
func repositoryName(address string) string {
	address = strings.TrimSuffix(strings.TrimRight(address, "/"), ".git")
	return address[strings.LastIndexAny(address, "/:\\")+1:]
}

// chooseArtifacts finds the repository of artifacts.
func (i *initializer) chooseArtifacts(ctx context.Context) error {
	own, err := i.ownURL(ctx)
	if err != nil {
		return err
	}
	if i.shared.Artifacts == "" {
		if i.shared.Artifacts, err = i.app.ask("Repository of the signed manifests, such as ghcr.io/acme/shop-manifests", forgeRegistry(own), "--artifacts"); err != nil {
			return err
		}
	}
	name := strings.NewReplacer("{pipeline}", "pipeline", "{stage}", "stage").Replace(i.shared.Artifacts)
	if _, err := i.app.registries(i.workspace.Root()).Repository(name); err != nil {
		return usagef("--artifacts: %w", err)
	}
	i.shared.SourceRepo = i.source
	if len(i.drafts) > 1 {
		if i.image != "" {
			return usagef("--image is of one application, and there are %d: choose one with --source-path, or add images later with lockage lock write -f FILE --image REF", len(i.drafts))
		}
		if !strings.Contains(i.shared.Artifacts, "{pipeline}") {
			i.shared.Artifacts = strings.TrimRight(i.shared.Artifacts, "/") + "/{pipeline}"
		}
	}
	return nil
}

// forgeRegistry returns the repository of artifacts that a forge with a registry has for a Git repository; "" for another forge.
func forgeRegistry(address string) string {
	address = strings.ToLower(strings.TrimSuffix(strings.TrimRight(address, "/"), ".git"))
	for host, registry := range map[string]string{"github.com": "ghcr.io/%s-manifests", "gitlab.com": "registry.gitlab.com/%s/manifests"} {
		for _, prefix := range []string{"https://" + host + "/", "ssh://git@" + host + "/", "git@" + host + ":"} {
			if name, ok := strings.CutPrefix(address, prefix); ok && strings.Contains(name, "/") {
				return fmt.Sprintf(registry, name)
			}
		}
	}
	return ""
}

// ask asks a question at the terminal. Without one the answer is fallback, or an error that names the flag.
func (a *app) ask(question, fallback, flag string) (string, error) {
	f, ok := a.stdin.(*os.File)
	if !ok || !term.IsTerminal(int(f.Fd())) {
		if fallback == "" {
			return "", usagef("%s is missing: %s", flag, question)
		}
		return fallback, nil
	}
	if fallback != "" {
		question += " [" + fallback + "]"
	}
	a.clear()
	fmt.Fprint(a.stderr, question+": ")
	line, err := bufio.NewReader(f).ReadString('\n')
	if answer := cmp.Or(strings.TrimSpace(line), fallback); answer != "" {
		return answer, nil
	}
	return "", errors.Join(err, usagef("%s is missing: %s", flag, question))
}

// broken reports whether no stage renders. All are written then, for somebody to mend.
func (i *initializer) broken() bool {
	return !slices.ContainsFunc(i.drafts, func(d scaffold.Draft) bool { return !d.Broken() })
}

// files returns the pipeline files.
func (i *initializer) files() (files []scaffoldFile) {
	images := func(d scaffold.Draft) bool { return d.Lock != nil && d.Lock.Image != lock.Image{} }
	if len(i.drafts) == 1 {
		return []scaffoldFile{{workspace.DefaultFile, i.drafts[0].File(i.shared, "", images(i.drafts[0]))}}
	}
	files = []scaffoldFile{{defaultsFile, scaffold.Defaults(i.shared)}}
	for _, d := range i.drafts {
		if !d.Broken() || i.broken() {
			files = append(files, scaffoldFile{pipelineFile(d), d.File(i.shared, "../"+defaultsFile, images(d))})
		}
	}
	return files
}

func pipelineFile(d scaffold.Draft) string { return path.Join(pipelinesFolder, d.Name+".yaml") }

// finish fills in the result.
func (i *initializer) finish(files []scaffoldFile) {
	r := &i.result
	r.Source, r.GitCommit, r.DryRun, r.broken = i.source, string(i.commit), i.dryRun, i.broken()
	r.Pipelines, r.Files = []initPipeline{}, nonNil(r.Files)
	if i.dryRun {
		r.contents = files
	}
	several := len(i.drafts) > 1
	for _, d := range i.drafts {
		p := initPipeline{Pipeline: d.Name, File: workspace.DefaultFile, Kind: d.Kind, SourcePath: d.SourcePath, Chart: d.Chart, Stages: []initStage{}}
		if several {
			if p.File = pipelineFile(d); d.Broken() && !r.broken {
				p.File = ""
			}
		}
		if d.Lock != nil {
			p.Release = d.Lock.ReleaseID
		}
		for _, s := range d.Stages {
			p.Stages = append(p.Stages, initStage{s.Name, s.Off})
		}
		r.Pipelines = append(r.Pipelines, p)
	}
	if r.Next = []string{}; !i.dryRun {
		r.Next = i.commands(several)
	}
}

// commands are those that come after init.
func (i *initializer) commands(several bool) []string {
	commands := []string{"git add . && git commit -m 'Add lockage' && git push -u origin HEAD"}
	for n, role := range []string{"HYDRATOR_KEY", "PROMOTER_KEY"} {
		if len(i.result.PrivateKeys) > n {
			commands = append(commands, fmt.Sprintf(`export %s="$(cat %s)"`, role, underHome(i.result.PrivateKeys[n])))
		}
	}
	files := ""
	if several {
		files = " -f '" + pipelinesFolder + "/*.yaml'"
	}
	if i.result.broken {
		commands = append([]string{"lockage render " + i.drafts[0].Stages[0].Name + " --worktree" + files + " # until it renders: mend the pipeline file"}, commands...)
	}
	if i.keys == noKeys {
		return append(commands, "lockage render"+files+" # hydrate and promote want keys: sign and identities in the file")
	}
	return append(commands, "lockage hydrate"+files, "lockage promote "+i.first()+files)
}

// first is what to promote first: what --ready takes, or the first stage if it takes none.
func (i *initializer) first() string {
	stage := "STAGE"
	for _, d := range i.drafts {
		for _, s := range d.Stages {
			switch {
			case s.Off != "" && !i.result.broken:
			case s.Auto:
				return "--ready"
			case stage == "STAGE":
				stage = s.Name
			}
		}
	}
	return stage
}

// underHome writes a path of the home folder as a shell has it.
func underHome(name string) string {
	if home, err := os.UserHomeDir(); err == nil {
		if rest, ok := strings.CutPrefix(name, home+string(filepath.Separator)); ok && !strings.ContainsAny(rest, " '\"$`\\") {
			return "~/" + filepath.ToSlash(rest)
		}
	}
	return shell.Quote(name)
}
