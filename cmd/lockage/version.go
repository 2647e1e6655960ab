package main

import (
	"fmt"
	"io"
	"runtime"
	"runtime/debug"
	"strings"

	"github.com/spf13/cobra"

	"github.com/lockage/lockage/hydrate"
	"github.com/lockage/lockage/hydrate/helm"
	"github.com/lockage/lockage/hydrate/kustomize"
)

// release is set by the linker in released binaries.
var release = ""

// version returns the release, or the version of the build information.
func version() string {
	if release != "" {
		return release
	}
	if info, ok := debug.ReadBuildInfo(); ok && info.Main.Version != "" && info.Main.Version != "(devel)" {
		return info.Main.Version
	}
	return "devel"
}

// userAgent is the name by which servers know this program.
func userAgent() string { return "lockage/" + version() }

type versionResult struct {
	Version  string `json:"version"`
	Go       string `json:"go"`
	Platform string `json:"platform"`
	Renderer string `json:"renderer"`
}

func (r versionResult) Text(w io.Writer) {
	fmt.Fprintf(w, "lockage %s (%s, %s, %s)\n", r.Version, r.Renderer, r.Go, r.Platform)
}

func newVersionCommand(a *app) *cobra.Command {
	return &cobra.Command{
		Use:     "version",
		Short:   "Print the versions of lockage and of its renderers",
		Example: "  lockage version\n  lockage version -o json",
		Args:    cobra.NoArgs,
		RunE:    func(*cobra.Command, []string) error { return a.showVersion() },
	}
}

func (a *app) showVersion() error {
	renderers := strings.Join([]string{
		helm.Renderer{}.Version(hydrate.Options{}), helm.Renderer{}.Version(hydrate.Options{Request: hydrate.Request{Helm: 4}}),
		kustomize.Renderer{}.Version(hydrate.Options{}),
	}, ", ")
	a.emit(list[versionResult]{{version(), runtime.Version(), runtime.GOOS + "/" + runtime.GOARCH, renderers}})
	return nil
}
