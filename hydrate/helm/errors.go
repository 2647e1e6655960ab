package helm

import (
	"errors"
	"regexp"
	"strings"
)

// Helm's errors repeat themselves: every template on the way adds `template:`, its file, that it was executing that file,
// and `error calling include`. File, line, the expression, and the last cause are what matters.
var (
	locationError  = regexp.MustCompile(`(?:parse|execution) error (?:at|in) \(([^)]+)\): `)
	executingError = regexp.MustCompile(`(?:error calling include: )?template: ([^ :]+)(:[0-9:]+): executing "([^"]*)" at (<.*?>): `)
	yamlError      = regexp.MustCompile(`^(?:error converting YAML to JSON: |error unmarshaling JSON: |while decoding JSON: |yaml: |json: )+`)
)

// maxMessage bounds a message of Helm's engine, in bytes.
const maxMessage = 2000

// templateError shortens an error of Helm's engine to a chain of `file:line:column: <expression>: ` and the cause.
func templateError(err error) error {
	text := locationError.ReplaceAllString(err.Error(), "$1: ")
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

func cleanYAML(err error) string { return yamlError.ReplaceAllString(err.Error(), "") }
