package strictyaml

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
)

// Kind is the kind of a Node.
type Kind int

// The kinds of nodes. Aliases are followed while parsing and leave no trace.
const (
	Scalar Kind = iota + 1
	Map
	List
)

// Node is one value of a document with its position. A Node is never changed after it was made.
type Node struct {
	Pos
	Kind Kind
	// Tag is the short YAML tag of a scalar: !!str, !!int, !!float, !!bool, !!null, !!timestamp or a tag of the file.
	Tag     string
	Value   string  // of a scalar, as written, quotes and escapes resolved
	Entries []Entry // of a map, in the order written
	Items   []*Node // of a list
}

// Entry is one key of a map with its value.
type Entry struct {
	Key    string
	KeyPos Pos
	Value  *Node
}

// Parse reads one document, or returns the problems. file names the document in them.
func Parse(file string, data []byte) (*Node, Problems) {
	if len(data) > MaxSize {
		return nil, Problems{{Pos{File: file}, "is larger than 1 MiB: a file of this kind is a few KiB"}}
	}
	dec := yaml.NewDecoder(bytes.NewReader(data))
	var doc, more yaml.Node
	if err := dec.Decode(&doc); errors.Is(err, io.EOF) {
		return nil, Problems{{Pos{file, 1, 1}, "is empty"}}
	} else if err != nil {
		return nil, syntaxProblem(file, data, err)
	}
	if err := dec.Decode(&more); err == nil {
		return nil, Problems{{Pos{file, more.Line, more.Column}, "holds more than one YAML document: write one document a file"}}
	} else if !errors.Is(err, io.EOF) {
		return nil, syntaxProblem(file, data, err)
	}
	c := converter{file: file, left: MaxNodes}
	n := c.convert(&doc, 0)
	if len(c.problems) > 0 {
		return nil, c.problems
	}
	return n, nil
}

var (
	syntaxError = regexp.MustCompile(`^line (\d+): (.*)`)
	// parserError matches the messages for which yaml.v3 counts lines from 0.
	parserError = regexp.MustCompile(`^did not find expected (key|node content|'-' indicator|',' or|<)`)
	bareName    = regexp.MustCompile(`^[^'"#]*(\{[a-zA-Z][\w.-]*\})`)
)

// syntaxProblem returns yaml.v3's syntax error, which has a line only (where the broken map or list begins), with the
// column of the line's first character. It names a placeholder without quotes, the usual cause.
func syntaxProblem(file string, data []byte, err error) Problems {
	msg := strings.TrimPrefix(err.Error(), "yaml: ")
	line, column := 1, 1
	if m := syntaxError.FindStringSubmatch(msg); m != nil {
		line, _ = strconv.Atoi(m[1]) // digits by the expression
		msg = m[2]
		if parserError.MatchString(msg) {
			line++
		}
		line = max(line, 1)
	}
	lines := strings.Split(string(data), "\n")
	if line <= len(lines) {
		text := lines[line-1]
		column += len(text) - len(strings.TrimLeft(text, " "))
		for i, text := range lines[line-1:] {
			if strings.HasPrefix(strings.TrimLeft(text, " "), "\t") && i == 0 {
				msg += "; the line is indented by a tab, and YAML takes spaces"
				break
			}
			if m := bareName.FindStringSubmatch(text); m != nil {
				msg += `; quotes may be missing in line ` + strconv.Itoa(line+i) + `: a value with ` + m[1] + ` is written "…` + m[1] + `…"`
				break
			}
		}
	}
	return Problems{{Pos{file, line, column}, "is not valid YAML: " + msg}}
}

// converter makes Nodes of yaml.v3's nodes and follows aliases within MaxNodes.
type converter struct {
	file     string
	left     int
	problems Problems
}

func (c *converter) convert(y *yaml.Node, depth int) *Node {
	pos := Pos{c.file, y.Line, y.Column}
	n := &Node{Pos: pos, Kind: Scalar, Tag: "!!null"}
	if c.left--; c.left < 0 {
		if c.left == -1 {
			c.problems.Add(pos, "the document has more than %d values, aliases counted each time they are used", MaxNodes)
		}
		return n
	}
	if depth > MaxDepth {
		c.problems.Add(pos, "is nested deeper than %d levels (an alias may contain itself)", MaxDepth)
		c.left = -1 // one problem is enough
		return n
	}
	switch y.Kind {
	case yaml.DocumentNode:
		return c.convert(y.Content[0], depth)
	case yaml.AliasNode:
		return c.convert(y.Alias, depth+1)
	case yaml.SequenceNode:
		n.Kind, n.Tag = List, ""
		for _, item := range y.Content {
			n.Items = append(n.Items, c.convert(item, depth+1))
		}
	case yaml.MappingNode:
		n.Kind, n.Tag = Map, ""
		c.entries(n, y, depth)
	default:
		n.Tag, n.Value = y.ShortTag(), y.Value
	}
	return n
}

func (c *converter) entries(n *Node, y *yaml.Node, depth int) {
	seen := make(map[string]int)
	for i := 0; i+1 < len(y.Content); i += 2 {
		key := c.convert(y.Content[i], depth+1)
		value := c.convert(y.Content[i+1], depth+1)
		if c.left < 0 {
			return
		}
		if key.Kind != Scalar {
			c.problems.Add(key.Pos, "a key is a map or a list: write it in quotes")
			continue
		}
		if first, dup := seen[key.Value]; dup {
			c.problems.Add(key.Pos, "key %q is given twice, first in line %d", key.Value, first)
			continue
		}
		seen[key.Value] = key.Line
		n.Entries = append(n.Entries, Entry{key.Value, key.Pos, value})
	}
}

// IsNull reports whether n is absent or written as null.
func (n *Node) IsNull() bool { return n == nil || n.Kind == Scalar && n.Tag == "!!null" }

// IsString reports whether n is a string.
func (n *Node) IsString() bool { return n != nil && n.Kind == Scalar && n.Tag == "!!str" }

// Get returns the value of a key, or nil if n is not a map or has no such key.
func (n *Node) Get(key string) *Node {
	if i := n.index(key); i >= 0 {
		return n.Entries[i].Value
	}
	return nil
}

func (n *Node) index(key string) int {
	if n == nil {
		return -1
	}
	return slices.IndexFunc(n.Entries, func(e Entry) bool { return e.Key == key })
}

// At follows path, of keys (string) and list indexes (int), as far as it exists and returns the last node, which may be n.
// It gives a problem in decoded values its position.
func (n *Node) At(path ...any) *Node {
	for _, step := range path {
		next := n.Find(step)
		if next == nil {
			break
		}
		n = next
	}
	return n
}

// Find returns the node at the end of path, of keys (string) and list indexes (int), or nil.
func (n *Node) Find(path ...any) *Node {
	for _, step := range path {
		switch step := step.(type) {
		case string:
			n = n.Get(step)
		case int:
			if n == nil || step < 0 || step >= len(n.Items) {
				return nil
			}
			n = n.Items[step]
		}
	}
	return n
}

// ReadFile reads a file for Parse: of a file over MaxSize one byte more than that, for Parse to refuse.
func ReadFile(files fs.FS, name string) ([]byte, error) {
	f, err := files.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, MaxSize+1))
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", name, err)
	}
	return data, nil
}
