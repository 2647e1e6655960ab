package helm

import (
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"text/template/parse"
)

// laterNow is `now`, nine and a half years later, with another second, minute, hour, weekday, month and year.
const laterNow = "(dateModify `83401h31m17s` now)"

// volatile lists the functions whose result is not a function of their arguments, and what is called in their place when a
// render is repeated: a function that takes the same arguments and returns what the original could not have returned. Those
// without a replacement are called again: that they return the same twice is out of the question.
var volatile = map[string]string{
	"now":         laterNow,
	"ago":         "print `~`",
	"randAlpha":   "randNumeric",
	"randNumeric": "randAlpha",
	"randInt":     "max", // called with randInt's upper bound, which is exclusive
	"shuffle":     "print `~`",

	"randAlphaNum": "", "randAscii": "", "randBytes": "", "uuidv4": "",
	"bcrypt": "", "htpasswd": "", "encryptAES": "", "genPrivateKey": "", "genCA": "", "genCAWithKey": "",
	"genSelfSignedCert": "", "genSelfSignedCertWithKey": "", "genSignedCert": "", "genSignedCertWithKey": "",

	// An invalid date is formatted as now.
	"date": "", "date_in_zone": "", "dateInZone": "", "htmlDate": "", "htmlDateInZone": "", "durationRound": "",

	"values": "", // in the order of a Go map
}

// relevant matches the words that make a text worth parsing if it may be given to tpl: the names of volatile functions, and
// ways to a template that calls one.
var relevant = regexp.MustCompile(`\b(?:lookup|include|template|tpl|` + strings.Join(slices.Sorted(maps.Keys(volatile)), "|") + `)\b`)

// calls is what one template calls.
type calls struct {
	functions []string // volatile ones, and lookup
	templates []string // by name
	anyFile   bool     // a template named by its file, which is not known before the render
	any       bool     // a template by a name that is not known before the render
	tpl       bool
	literals  []string // relevant strings, which may be part of what tpl is given
}

// splice replaces length bytes of a text.
type splice struct {
	at, length int
	by         string
}

// program is the templates of one text by name: "" is the text itself, the others those that it defines.
type program struct {
	text      string
	templates map[string]*calls
	splices   []splice // that make it the text to render again
	keys      []int    // where the function keys is called
}

// parseText parses a text as text/template does. It returns nil if that fails: Helm then refuses a chart's template.
func parseText(text string) *program {
	root := parse.New("")
	root.Mode = parse.SkipFuncCheck
	trees := map[string]*parse.Tree{}
	if _, err := root.Parse(text, "", "", trees); err != nil {
		return nil
	}
	p := &program{text: text, templates: map[string]*calls{}}
	for name, tree := range trees {
		c := &calls{}
		p.templates[name] = c
		p.node(c, tree.Root)
	}
	slices.SortStableFunc(p.splices, func(a, b splice) int { return a.at - b.at })
	return p
}

func (p *program) node(c *calls, n parse.Node) {
	switch n := n.(type) {
	case *parse.ListNode:
		if n == nil { // an absent else
			return
		}
		for _, child := range n.Nodes {
			p.node(c, child)
		}
	case *parse.ActionNode:
		p.node(c, n.Pipe)
	case *parse.IfNode:
		p.branch(c, &n.BranchNode)
	case *parse.RangeNode:
		p.branch(c, &n.BranchNode)
	case *parse.WithNode:
		p.branch(c, &n.BranchNode)
	case *parse.TemplateNode:
		c.templates = append(c.templates, n.Name)
		p.node(c, n.Pipe)
	case *parse.PipeNode:
		if n == nil { // {{template "name"}} without argument
			return
		}
		for _, command := range n.Cmds {
			p.command(c, command)
		}
	case *parse.ChainNode:
		p.node(c, n.Node)
	case *parse.IdentifierNode:
		p.function(c, n)
	case *parse.StringNode:
		if relevant.MatchString(n.Text) {
			c.literals = append(c.literals, n.Text)
		}
		if later := laterText(n.Text); later != n.Text {
			p.splices = append(p.splices, splice{int(n.Pos), len(n.Quoted), strconv.Quote(later)})
		}
	}
}

func (p *program) branch(c *calls, n *parse.BranchNode) {
	p.node(c, n.Pipe)
	p.node(c, n.List)
	p.node(c, n.ElseList)
}

func (p *program) command(c *calls, n *parse.CommandNode) {
	for _, arg := range n.Args {
		p.node(c, arg)
	}
	function, ok := n.Args[0].(*parse.IdentifierNode)
	if !ok || function.Ident != "include" {
		return
	}
	name := parse.Node(nil)
	if len(n.Args) > 1 {
		name = n.Args[1]
	}
	switch name, literal := name.(*parse.StringNode); {
	case literal:
		c.templates = append(c.templates, name.Text)
	// Charts take the checksum of another file by include (print $.Template.BasePath "/config.yaml") .
	case strings.Contains(n.String(), ".Template.BasePath"):
		c.anyFile = true
	default:
		c.any = true
	}
}

func (p *program) function(c *calls, n *parse.IdentifierNode) {
	replacement, isVolatile := volatile[n.Ident]
	switch {
	case n.Ident == "keys":
		p.keys = append(p.keys, int(n.Pos))
	case n.Ident == "tpl":
		c.tpl = true
	case n.Ident == "lookup":
		c.functions = append(c.functions, n.Ident)
	case isVolatile:
		c.functions = append(c.functions, n.Ident)
		if replacement != "" {
			p.splices = append(p.splices, splice{int(n.Pos), len(n.Ident), replacement})
		}
		if n.Ident == "randInt" {
			p.splices = append(p.splices, splice{at: commandEnd(p.text, int(n.Pos)), by: " | int"})
		}
	}
}

// apply returns the text with its splices, to be rendered again.
func (p *program) apply() string {
	var b strings.Builder
	end := 0
	for _, s := range p.splices {
		b.WriteString(p.text[end:s.at])
		b.WriteString(s.by)
		end = s.at + s.length
	}
	b.WriteString(p.text[end:])
	return b.String()
}

// sortKeys makes every call of `keys`, which returns the keys of a map in random order, return them sorted.
func sortKeys(text string) string {
	if !strings.Contains(text, "keys") {
		return text
	}
	p := parseText(text)
	if p == nil {
		return text
	}
	p.splices = nil
	for _, at := range p.keys {
		p.splices = append(p.splices, splice{at: commandEnd(text, at), by: " | sortAlpha"})
	}
	slices.SortStableFunc(p.splices, func(a, b splice) int { return a.at - b.at })
	return p.apply()
}

// commandEnd returns the end of the command that begins at an offset of a valid template: before the next `|`, the
// parenthesis that closes around it, or the end of the action.
func commandEnd(text string, at int) int {
	depth, end := 0, at
	for end < len(text) {
		switch c := text[end]; {
		case c == '"' || c == '\'':
			for end++; text[end] != c; end++ {
				if text[end] == '\\' {
					end++
				}
			}
		case c == '`':
			end += 1 + strings.IndexByte(text[end+1:], '`')
		case c == '(':
			depth++
		case depth > 0 && c == ')':
			depth--
		case depth == 0 && (c == '|' || c == ')'), strings.HasPrefix(text[end:], "}}"):
			return at + len(strings.TrimRight(text[at:end], " \t\r\n-"))
		}
		end++
	}
	return end
}

// laterText replaces `now` in a text that may be given to tpl or printed as it is. In the second case the output contains
// laterNow, and originalText restores it.
func laterText(text string) string {
	if !strings.Contains(text, "{{") || !strings.Contains(text, "now") {
		return text
	}
	p := parseText(text)
	if p == nil {
		return text
	}
	p.splices = slices.DeleteFunc(p.splices, func(s splice) bool { return s.by != laterNow })
	return p.apply()
}

// originalText undoes laterText in output that printed the text as it is.
func originalText(output string) string { return strings.ReplaceAll(output, laterNow, "now") }
