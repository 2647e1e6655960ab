package main

import (
	"errors"
	"fmt"
	"strings"

	"github.com/lockage/lockage/gitops"
	"github.com/lockage/lockage/internal/strictyaml"
	"github.com/lockage/lockage/policy"
)

// Exit statuses. They are part of the command line's contract.
const (
	exitDone   = 0
	exitFailed = 1 // something did not work
	exitUsage  = 2 // wrong usage or configuration
	exitDenied = 3 // denied by verification or policy
)

// usageError is a mistake on the command line.
type usageError struct{ error }

func (e usageError) Unwrap() error { return e.error }

func usagef(format string, args ...any) error {
	return usageError{fmt.Errorf(format, args...)}
}

// reported is a failure whose reasons stand in the results already.
type reported struct {
	code int
	err  error
}

func (e reported) Error() string { return e.err.Error() }
func (e reported) Unwrap() error { return e.err }

func exitCode(err error) int {
	var (
		usage    usageError
		problems strictyaml.Problems
		rep      reported
	)
	switch {
	case err == nil:
		return exitDone
	case errors.As(err, &rep):
		return rep.code
	case errors.As(err, &usage), errors.As(err, &problems), strings.HasPrefix(err.Error(), "unknown command"):
		return exitUsage
	case errors.Is(err, gitops.ErrOffPolicy), errors.Is(err, policy.ErrDenied):
		return exitDenied
	}
	return exitFailed
}
