package engine

import (
	"errors"
	"regexp"
	"strings"
)

// Errors of text/template repeat themselves: every template on the way adds `template:`, its file, that it was executing that
// file, and `error calling include`. File, line, the expression, and the last cause are what matters.
var executingError = regexp.MustCompile(`(?:error calling include: )?template: ([^ :]+)(:[0-9:]+): executing "([^"]*)" at (<.*?>): `)

const (
	maxMessage = 2000 // of an error, in bytes
	maxQuoted  = 100  // of a text given to tpl, in an error
)

// shortened is an error with a shorter message.
type shortened struct {
	error
	message string
}

func (s shortened) Error() string { return s.message }

func (s shortened) Unwrap() error { return s.error }

// shorten bounds the message of an error of a template that another one called: without that, templates that call each
// other without end would build one of megabytes, at each level.
func shorten(err error) error {
	if err == nil || len(err.Error()) <= 4*maxMessage {
		return err
	}
	return shortened{err, ends(err.Error(), 4*maxMessage)}
}

// ends returns the beginning and the end of a text.
func ends(text string, size int) string {
	if len(text) <= size {
		return text
	}
	return strings.ToValidUTF8(text[:size/2], "") + " … " + strings.ToValidUTF8(text[len(text)-size/2:], "")
}

// templateError shortens an error of text/template to a chain of `file:line:column: <expression>: ` and the cause, and one
// of a template that fails on purpose to the first place of the chain and the message.
func templateError(err error) error {
	text := err.Error()
	var message failure
	if errors.As(err, &message) {
		if place, _, found := strings.Cut(strings.TrimPrefix(text, "template: "), ": "); found {
			text = place + ": " + string(message)
		}
	}
	text = executingError.ReplaceAllStringFunc(text, func(step string) string {
		m := executingError.FindStringSubmatch(step)
		file, position, executing, expression := m[1], m[2], m[3], m[4]
		if executing != file { // a named template in the file
			expression = `in "` + executing + `": ` + expression
		}
		return file + position + ": " + expression + ": "
	})
	text = strings.TrimPrefix(text, "template: ")
	return errors.New(ends(text, maxMessage))
}
