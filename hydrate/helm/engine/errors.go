package engine

import (
	"errors"
	"regexp"
	"strings"
)

// Errors of text/template repeat themselves: every template on the way adds `template:`, its file, that it was executing that
// file, and `error calling include`. File, line, the expression, and the last cause are what matters.
var executingError = regexp.MustCompile(`(?:error calling include: )?template: ([^ :]+)(:[0-9:]+): executing "([^"]*)" at (<.*?>): `)

// maxMessage bounds the message of an error, in bytes.
const maxMessage = 2000

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
	if len(text) > maxMessage { // of templates that include each other without end: keep both ends
		text = strings.ToValidUTF8(text[:maxMessage/2], "") + " … " + strings.ToValidUTF8(text[len(text)-maxMessage/2:], "")
	}
	return errors.New(text)
}
