package main

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/lockage/lockage/hydrate/pipeline"
	"github.com/lockage/lockage/hydrate/workspace"
	"github.com/lockage/lockage/internal/strictyaml"
	"github.com/lockage/lockage/policy"
	"github.com/lockage/lockage/publish"
)

func TestExitCode(t *testing.T) {
	t.Parallel()
	var problems strictyaml.Problems
	problems.Add(strictyaml.Pos{File: "lockage.yaml", Line: 1, Column: 1}, "wrong")
	failed := errors.New("failed")
	for name, test := range map[string]struct {
		err  error
		want int
	}{
		"nothing":       {nil, exitDone},
		"failure":       {failed, exitFailed},
		"usage":         {fmt.Errorf("web: %w", usagef("no such flag")), exitUsage},
		"configuration": {errors.Join(failed, problems.Err()), exitUsage},
		"no stage":      {fmt.Errorf("%w: x", pipeline.ErrNoStage), exitUsage},
		"pipeline file": {errors.Join(failed, new(publish.ConfigurationError)), exitUsage},
		"denied":        {errors.Join(failed, fmt.Errorf("web is %w", policy.ErrDenied)), exitDenied},
		"off policy":    {fmt.Errorf("commit is %w", workspace.ErrOffPolicy), exitDenied},
		"reported":      {reported{exitDenied, problems.Err()}, exitDenied},
	} {
		if got := exitCode(test.err); got != test.want {
			t.Errorf("%s: exit status %d, want %d", name, got, test.want)
		}
	}
}

func TestStopped(t *testing.T) {
	t.Parallel()
	interrupt, failed := errors.New("interrupt signal received"), errors.New("production: no such chart")
	const line = "stopped: interrupt signal received; run it again to continue"
	pushing := func(stage string, cause error) error { return fmt.Errorf("%s: push: %w", stage, cause) }
	for name, test := range map[string]struct {
		cause, err error
		want       string
	}{
		"not stopped":         {nil, failed, failed.Error()},
		"done all the same":   {interrupt, nil, ""},
		"where it was":        {interrupt, pushing("a", interrupt), line + "\na: push: interrupt signal received"},
		"only the first":      {interrupt, errors.Join(pushing("a", context.Canceled), pushing("b", interrupt)), line + "\na: push: context canceled"},
		"of several joins":    {interrupt, errors.Join(errors.Join(pushing("a", interrupt), interrupt), fmt.Errorf("x: %w and %w", failed, failed)), line + "\na: push: interrupt signal received\nx: " + failed.Error() + " and " + failed.Error()},
		"failures stay":       {interrupt, errors.Join(pushing("a", interrupt), failed, pushing("b", interrupt)), line + "\na: push: interrupt signal received\n" + failed.Error()},
		"no line is repeated": {interrupt, usageError{interrupt}, line},
	} {
		ctx, cancel := context.WithCancelCause(t.Context())
		if test.cause != nil {
			cancel(test.cause)
		}
		err := stopped(ctx, tally{}, test.err)
		cancel(nil)
		got := ""
		if err != nil {
			got = err.Error()
		}
		if got != test.want {
			t.Errorf("%s:\n%s\nwant:\n%s", name, got, test.want)
		}
		if code := exitCode(err); err != nil && code != exitFailed && code != exitInterrupted || test.cause != nil && err != nil && code != exitInterrupted {
			t.Errorf("%s: exit status %d", name, code)
		}
	}
	ctx, cancel := context.WithDeadlineCause(t.Context(), time.Time{}, errors.New("not finished within --timeout 1s"))
	defer cancel()
	if err := stopped(ctx, tally{}, reported{exitNotYet, errors.New("web is not healthy yet")}); exitCode(err) != exitNotYet || err.Error() != "web is not healthy yet" {
		t.Errorf("what was waited for: exit status %d of %v", exitCode(err), err)
	}
}
