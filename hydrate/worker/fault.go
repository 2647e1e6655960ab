package worker

import (
	"errors"
	"io/fs"
)

// maxFault bounds the text of an error.
const maxFault = 64 << 10

// fault is an error on its way to the other process: its text, and as what it is recognised there.
type fault struct {
	Text   string
	Absent bool // is [fs.ErrNotExist]
	Cause  int  // counts from 1; the error of the parent that it wraps, 0 for none
}

func newFault(err error, cause int) *fault {
	text := err.Error()
	if len(text) > maxFault {
		text = text[:maxFault] + " …"
	}
	return &fault{text, errors.Is(err, fs.ErrNotExist), cause}
}

// remote is an error of the parent, in the child.
type remote struct{ *fault }

func (e remote) Error() string { return e.Text }

func (e remote) Is(target error) bool { return e.Absent && target == fs.ErrNotExist }

// faultOf makes a fault of an error of the child, which may wrap one of the parent.
func faultOf(err error) *fault {
	var of remote
	if errors.As(err, &of) {
		return newFault(err, of.Cause)
	}
	return newFault(err, 0)
}

// carried is an error of the child, in the parent. It wraps the error of the parent that caused it.
type carried struct {
	text   string
	causes []error
}

func (e *carried) Error() string   { return e.text }
func (e *carried) Unwrap() []error { return e.causes }

// carry returns the error that a fault describes; causes are the errors that the parent answered with.
func (f *fault) carry(causes []error) error {
	e := &carried{text: f.Text}
	if f.Cause > 0 && f.Cause <= len(causes) {
		e.causes = append(e.causes, causes[f.Cause-1])
	}
	if f.Absent {
		e.causes = append(e.causes, fs.ErrNotExist)
	}
	return e
}
