package publish

import (
	"context"
	"runtime"
	"sync"

	"golang.org/x/sync/errgroup"
)

// concurrency bounds the stages that are under way at a time. Most of a stage is waiting for the registry; renders,
// which take memory and processors, are bounded by the number of these.
const concurrency = 16

// Result is the outcome of one job, or why there is none.
type Result struct {
	Outcome
	Err error
}

// All publishes jobs concurrently, and returns their results in the order of the jobs. One job's failure does not stop
// the others. Done is told of each job as it ends, one at a time.
func All(ctx context.Context, jobs []Job, done func(Job, Result)) []Result {
	results := make([]Result, len(jobs))
	renders := make(chan struct{}, runtime.GOMAXPROCS(0))
	acquire := func(ctx context.Context) (func(), error) {
		select {
		case renders <- struct{}{}:
			return func() { <-renders }, nil
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
	var (
		group errgroup.Group
		mu    sync.Mutex
	)
	group.SetLimit(concurrency)
	for i, job := range jobs {
		group.Go(func() error {
			outcome, err := publish(ctx, job, acquire)
			results[i] = Result{outcome, err}
			mu.Lock()
			defer mu.Unlock()
			done(job, results[i])
			return nil
		})
	}
	_ = group.Wait() // no job returns an error: they stand in the results
	return results
}
