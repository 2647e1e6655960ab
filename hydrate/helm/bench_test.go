package helm

import (
	"fmt"
	"io/fs"
	"os"
	"runtime"
	"testing"

	"golang.org/x/sync/errgroup"

	"github.com/lockage/lockage/hydrate"
	"github.com/lockage/lockage/internal/samplechart"
)

// BenchmarkRender opens a chart and renders 30 stages of it, as many at a time as there are processors, through decoder
// and layout. LOCKAGE_CHART names the folder of another chart to measure.
func BenchmarkRender(b *testing.B) {
	charts := map[string]fs.FS{"small": samplechart.Small(), "large": samplechart.Large()}
	if dir := os.Getenv("LOCKAGE_CHART"); dir != "" {
		charts = map[string]fs.FS{"other": os.DirFS(dir)}
	}
	for name, source := range charts {
		b.Run("chart="+name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				chart, err := Renderer{}.Open(b.Context(), folder(source))
				if err != nil {
					b.Fatal(err)
				}
				var decoder hydrate.Decoder
				var group errgroup.Group
				group.SetLimit(runtime.GOMAXPROCS(0))
				for i := range 30 {
					group.Go(func() error {
						r := request
						r.ReleaseName = fmt.Sprintf("stage-%d", i)
						rendered, err := chart.Render(b.Context(), r)
						if err != nil {
							return err
						}
						objects, err := decoder.Objects(rendered.Manifests)
						if err != nil {
							return err
						}
						_, err = hydrate.Layout(objects, hydrate.PerObject, "")
						return err
					})
				}
				if err := group.Wait(); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
