package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/lockage/lockage/hydrate/pipeline"
	"github.com/lockage/lockage/hydrate/stagediff"
	"github.com/lockage/lockage/hydrate/workspace"
	"github.com/lockage/lockage/internal/strictyaml"
	"github.com/lockage/lockage/oci"
	"github.com/lockage/lockage/policy"
	"github.com/lockage/lockage/policy/verify"
	"github.com/lockage/lockage/promote"
	"github.com/lockage/lockage/promote/live"
	"github.com/lockage/lockage/publish"
)

// Exit statuses. They are part of the command line's contract.
const (
	exitDone   = 0
	exitFailed = 1 // an operation failed
	exitUsage  = 2 // wrong usage or configuration
	exitDenied = 3 // denied by verification or policy
	exitChange = 4 // diff --exit-code found changes
	exitNotYet = 5 // only pending gates are left
)

// usageError is a mistake on the command line.
type usageError struct{ error }

func (e usageError) Unwrap() error { return e.error }

func usagef(format string, args ...any) error {
	return usageError{fmt.Errorf(format, args...)}
}

// reported is a failure with an exit status of its own, whatever it wraps.
type reported struct {
	code int
	err  error
}

func (e reported) Error() string { return e.err.Error() }
func (e reported) Unwrap() error { return e.err }

// broken marks an error as a denial if the record of what is live in a stage is broken.
func broken(err error) error {
	if errors.Is(err, live.ErrBroken) {
		return reported{exitDenied, err}
	}
	return err
}

func exitCode(err error) int {
	var (
		usage      usageError
		selected   *workspace.SelectionError
		configured *publish.ConfigurationError
		problems   strictyaml.Problems
		rep        reported
	)
	switch {
	case err == nil:
		return exitDone
	case errors.As(err, &rep):
		return rep.code
	case errors.As(err, &usage), errors.As(err, &selected), errors.As(err, &configured), errors.As(err, &problems),
		errors.Is(err, pipeline.ErrNoStage), errors.Is(err, verify.ErrIdentity),
		errors.Is(err, verify.ErrUnknown), errors.Is(err, stagediff.ErrNoMatch), errors.Is(err, oci.ErrReference):
		return exitUsage
	case errors.Is(err, workspace.ErrOffPolicy), errors.Is(err, policy.ErrDenied):
		return exitDenied
	case errors.Is(err, promote.ErrPending):
		return exitNotYet
	}
	return exitFailed
}

// stopped reports in one line that a run was interrupted or took longer than --timeout, in place of the failures that follow
// from it. The first of those is kept, because it says where the run was.
func stopped(ctx context.Context, err error) error {
	cause := context.Cause(ctx)
	if err == nil || cause == nil {
		return err
	}
	left := []error{fmt.Errorf("stopped: %w; run it again to continue", cause)}
	first := true
	for _, e := range unjoin(err) {
		consequence := errors.Is(e, cause) || errors.Is(e, context.Canceled) || errors.Is(e, context.DeadlineExceeded)
		if !consequence || first && e.Error() != cause.Error() {
			left = append(left, e)
		}
		first = first && !consequence
	}
	return reported{exitFailed, errors.Join(left...)}
}

// unjoin returns the errors that [errors.Join] made an error of, also of several steps.
func unjoin(err error) []error {
	joined, ok := err.(interface{ Unwrap() []error })
	if !ok || errors.Join(joined.Unwrap()...).Error() != err.Error() {
		return []error{err}
	}
	var errs []error
	for _, e := range joined.Unwrap() {
		errs = append(errs, unjoin(e)...)
	}
	return errs
}
