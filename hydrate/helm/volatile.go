package helm

import (
	"regexp"
	"slices"
	"strconv"
	"strings"
	"text/template/parse"
)

// laterNow is `now`, nine and a half years later: another second, minute, hour, weekday, month and year.
const laterNow = "(dateModify `83401h31m17s` now)"

// volatile are the functions whose result is no function of their arguments, and what is called in their place when a
// render is repeated. Most are called again as they are: that they come to the same twice would be a marvel. The others
// get a stand-in that takes the same arguments and comes to something that the function itself could not have.
var volatile = map[string]string{
	"now":          laterNow,
	"ago":          "print `~`",
	"randAlpha":    "randNumeric",
	"randNumeric":  "randAlpha",
	"randInt":      "max", // which is given randInt's upper bound, that is exclusive
	"shuffle":      "print `~`",
	"randAlphaNum": "randAlphaNum",
	"randAscii":    "randAscii",
	"randBytes":    "randBytes",
	"uuidv4":       "uuidv4",
	"bcrypt":       "bcrypt",
	"htpasswd":     "htpasswd",
	"encryptAES":   "encryptAES",

	"genPrivateKey":            "genPrivateKey",
	"genCA":                    "genCA",
	"genCAWithKey":             "genCAWithKey",
	"genSelfSignedCert":        "genSelfSignedCert",
	"genSelfSignedCertWithKey": "genSelfSignedCertWithKey",
	"genSignedCert":            "genSignedCert",
	"genSignedCertWithKey":     "genSignedCertWithKey",

	// A date that is no date is formatted as now. These are called again as they are.
	"date":           "date",
	"date_in_zone":   "date_in_zone",
	"dateInZone":     "dateInZone",
	"htmlDate":       "htmlDate",
	"values":         "values", // in the order of a Go map
	"htmlDateInZone": "htmlDateInZone",
	"durationRound":  "durationRound",
}

// telling matches what makes a text worth parsing once it may be given to tpl: the name of a volatile function, or a way
// to a template that calls one.
var telling = regexp.MustCompile(`\b(?:now|ago|rand[A-Z][A-Za-z]+|shuffle|uuidv4|bcrypt|htpasswd|encryptAES|gen[A-Z][A-Za-z]+|date_in_zone|date|dateInZone|htmlDate(?:InZone)?|durationRound|values|lookup|include|template|tpl)\b`)

// calls is what one template calls.
type calls struct {
	functions []string // volatile ones, and lookup
	templates []string // by name
	anyFile   bool     // a template named by its file, which is not known before the render
	any       bool     // a template by a name that is not known before the render
	tpl       bool
	literals  []string // strings that tell something if they have a part in what tpl is given
}

// splice replaces length bytes of a text.
type splice struct {
	at, length int
	by         string
}

// program is one text as templates, by name: "" is the text itself, the others those it defines.
type program struct {
	text      string
	templates map[string]*calls
	splices   []splice // that make it the text to render again
	keys      []int    // where the function keys is called
}

// parseText parses a text as text/template would. It returns nil where that fails: a chart's template is then refused
// by Helm.
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
		if n == nil { // an else that is not there
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
		if telling.MatchString(n.Text) {
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
	// include (print $.Template.BasePath "/config.yaml") . is how charts take the checksum of another file.
	case strings.Contains(n.String(), ".Template.BasePath"):
		c.anyFile = true
	default:
		c.any = true
	}
}

func (p *program) function(c *calls, n *parse.IdentifierNode) {
	standIn, isVolatile := volatile[n.Ident]
	switch {
	case n.Ident == "keys":
		p.keys = append(p.keys, int(n.Pos))
	case n.Ident == "tpl":
		c.tpl = true
	case n.Ident == "lookup":
		c.functions = append(c.functions, n.Ident)
	case isVolatile:
		c.functions = append(c.functions, n.Ident)
		if standIn != n.Ident {
			p.splices = append(p.splices, splice{int(n.Pos), len(n.Ident), standIn})
		}
		if n.Ident == "randInt" {
			p.splices = append(p.splices, splice{at: commandEnd(p.text, int(n.Pos)), by: " | int"})
		}
	}
}

// apply makes the text that was parsed the one to render again.
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

// sortKeys makes every call of `keys`, which gives the keys of a map in random order, one that gives them sorted.
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

// commandEnd returns where the command ends that begins at a place in a template that parses: before the next `|`, the
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

// laterText replaces `now` in a text that may be given to tpl, or else shown as it is. In the second case the output holds
// laterNow, and sooner takes it back.
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

// sooner takes back what laterText did to a text that was shown as it is.
func sooner(output string) string { return strings.ReplaceAll(output, laterNow, "now") }
