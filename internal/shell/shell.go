// Package shell writes words of commands for shells.
package shell

import "strings"

// Quote makes one word of a text for a shell, as git does for those of servers: an exclamation mark would name a command of history.
func Quote(text string) string {
	return "'" + strings.NewReplacer("'", `'\''`, "!", `'\!'`).Replace(text) + "'"
}
