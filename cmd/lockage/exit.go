package main

import (
	"context"
	"errors"
	"fmt"
	"strings"

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

	exitInterrupted = 130 // by a signal, as shells have it
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

// beside is an error that the text of the results has beside its row: standard error names the row alone.
type beside struct {
	error
	row     string
	outcome string // such as denied
}

func (e beside) Unwrap() error { return e.error }

// brief is the text of an error without the reasons that the results have.
func brief(err error) string {
	var lines, outcomes []string
	rows := map[string][]string{}
	for _, e := range flatten(err) {
		b, ok := e.(beside) //nolint:errorlint // as it was collected
		switch {
		case !ok:
			lines = append(lines, e.Error())
			continue
		case rows[b.outcome] == nil:
			outcomes = append(outcomes, b.outcome)
		}
		rows[b.outcome] = append(rows[b.outcome], short(b.row))
	}
	for _, outcome := range outcomes {
		lines = append(lines, strings.TrimPrefix(wrap("lockage: "+few(rows[outcome])+": "+outcome), "lockage: "))
	}
	return strings.Join(lines, "\n")
}

// flatten returns the errors that an error was made of by [errors.Join], whatever their exit status is.
func flatten(err error) (all []error) {
	for _, e := range unjoin(err) {
		if rep, ok := e.(reported); ok { //nolint:errorlint // the outermost
			all = append(all, flatten(rep.err)...)
		} else if e != nil {
			all = append(all, e)
		}
	}
	return all
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
	case errors.Is(err, live.ErrBroken):
		return exitDenied
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

// actionStopped is the action of a stage that a run did not come to because it was stopped, for -o json; text leaves it out.
const actionStopped = "stopped"

// tally counts the stages of a run.
type tally struct {
	done, all int
	met       bool // whether a stage was met that the stop of the run ended
}

// add counts a stage with its error, and reports whether the run did not come to it because it was stopped. The first such stage
// counts as failed, because its error says where the run was.
func (t *tally) add(ctx context.Context, err error) bool {
	t.all++
	switch {
	case err == nil:
		t.done++
	case follows(ctx, err):
		first := !t.met
		t.met = true
		return !first
	}
	return false
}

// follows reports whether an error follows from the end of a context.
func follows(ctx context.Context, err error) bool {
	cause := context.Cause(ctx)
	return cause != nil && (errors.Is(err, cause) || errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded))
}

// stopped reports in one line that a run was interrupted or took longer than --timeout, and how far it came, in place of the
// failures that follow from it. The first of those is kept, because it says where the run was.
func stopped(ctx context.Context, t tally, err error) error {
	cause := context.Cause(ctx)
	if err == nil || cause == nil {
		return err
	}
	if rep, ok := err.(reported); ok { //nolint:errorlint // the outermost
		if rep.code == exitNotYet && !follows(ctx, rep.err) {
			return err // that something is not there yet is what the wait was for
		}
		err = rep.err
	}
	code, line := exitFailed, cause.Error()
	if errors.Is(ctx.Err(), context.Canceled) {
		code = exitInterrupted
	}
	switch {
	case t.all > 0 && code == exitInterrupted:
		line = fmt.Sprintf("%d of %d done", t.done, t.all)
	case t.all > 0:
		line += fmt.Sprintf(", %d of %d done", t.done, t.all)
	}
	left := []error{errors.New("stopped: " + line + "; run it again to continue")}
	first := true
	for _, e := range unjoin(err) {
		consequence := follows(ctx, e)
		if !consequence || first && e.Error() != cause.Error() {
			left = append(left, e)
		}
		first = first && !consequence
	}
	return reported{code, errors.Join(left...)}
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
