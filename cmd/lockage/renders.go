package main

import (
	"context"
	"io"
	"os"
	"runtime"

	"github.com/lockage/lockage/hydrate"
	"github.com/lockage/lockage/hydrate/helm"
	"github.com/lockage/lockage/hydrate/helm/chartrepo"
	"github.com/lockage/lockage/hydrate/kustomize"
	"github.com/lockage/lockage/hydrate/lock"
	"github.com/lockage/lockage/hydrate/worker"
)

// renderChild is the argument that makes the program a child that renders. Only the program itself gives it.
const renderChild = "render-child"

func isRenderChild(args []string) bool { return len(args) == 2 && args[1] == renderChild }

// serveRenders is all that a child does. It returns the exit status.
func serveRenders(in io.Reader, out io.Writer) int {
	err := worker.Serve(context.Background(), in, out, func(charts worker.Archives) map[string]hydrate.Renderer {
		byName := map[string]hydrate.Renderer{}
		for kind, r := range localRenderers(charts) {
			byName[string(kind)] = r
		}
		return byName
	})
	if err != nil {
		return exitFailed
	}
	return exitDone
}

// renderers returns the renderers by the lock's packaging.kind. They render in child processes. Dependencies of charts are fetched
// into the cache.
func (a *app) renderers() (map[lock.Kind]hydrate.Renderer, error) {
	charts := a.chartFetcher()
	if a.renders == nil {
		program, err := thisProgram()
		if err != nil {
			return nil, err
		}
		a.renders = worker.New(worker.Options{
			Program:  program,
			Args:     []string{os.Args[0], renderChild},
			Size:     runtime.GOMAXPROCS(0),
			Bounds:   a.bounds,
			Archives: charts,
		})
	}
	renderers := localRenderers(charts)
	for kind, r := range renderers {
		renderers[kind] = a.renders.Renderer(string(kind), r)
	}
	return renderers, nil
}

// chartFetcher returns the one fetcher of charts, so that each is fetched once.
func (a *app) chartFetcher() *chartrepo.Fetcher {
	if a.charts == nil {
		a.charts = chartrepo.New(chartrepo.Options{
			CacheDir:   a.cacheDir,
			Registries: a.registries(a.dir),
			UserAgent:  userAgent(),
		})
	}
	return a.charts
}

// localRenderers returns the renderers that render in this process.
func localRenderers(charts helm.Archives) map[lock.Kind]hydrate.Renderer {
	charted := helm.Renderer{Charts: charts}
	return map[lock.Kind]hydrate.Renderer{lock.Helm: charted, lock.Packaged: charted, lock.Kustomize: kustomize.Renderer{}}
}

// thisProgram returns the path of the running program, on Linux even if another version has replaced it on disk.
func thisProgram() (string, error) {
	if runtime.GOOS == "linux" {
		return "/proc/self/exe", nil
	}
	return os.Executable()
}
