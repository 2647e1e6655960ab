package board

import (
	"bytes"
	"cmp"
	_ "embed" // the pages' templates, style and script
	"encoding/json"
	"fmt"
	"html/template"
	"io"
	"path"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/opencontainers/go-digest"

	"github.com/lockage/lockage/hydrate/diff"
	"github.com/lockage/lockage/hydrate/stagediff"
	"github.com/lockage/lockage/internal/webpage"
	"github.com/lockage/lockage/policy"
	"github.com/lockage/lockage/sign"
)

//go:embed index.html
var indexHTML string

//go:embed release.html
var releaseHTML string

//go:embed parts.html
var partsHTML string

//go:embed board.css
var boardCSS string

//go:embed board.js
var boardJS string

// The files of a site, beside a folder of pages a pipeline.
const (
	indexFile  = "index.html"
	statusFile = "status.json"
)

// site renders the pages of a board.
type site struct {
	*Board
	index, release *webpage.Template
}

// files writes all files of the site by create, the index last: what it links to is there.
func (b *Board) files(create func(name string, render func(io.Writer) error) error) error {
	s := site{Board: b}
	var err error
	if s.index, err = webpage.New(partsHTML+indexHTML, boardCSS, boardJS, functions); err != nil {
		return err
	}
	if s.release, err = webpage.New(partsHTML+releaseHTML, boardCSS, "", functions); err != nil {
		return err
	}
	for _, p := range b.Pipelines {
		for _, of := range p.releases {
			if err := s.pages(p, of, create); err != nil {
				return err
			}
		}
	}
	err = create(statusFile, func(w io.Writer) error {
		_, err := w.Write(b.Status)
		return err
	})
	if err != nil {
		return err
	}
	return create(indexFile, func(w io.Writer) error { return s.index.Write(w, "Pipelines", s.newIndex()) })
}

// pages writes the page of a release, and one for each change that it makes.
func (s site) pages(p *Pipeline, of *release, create func(string, func(io.Writer) error) error) error {
	page := newReleasePage(s.Board, p, of)
	for _, c := range page.Changes {
		if c.Uncompared != "" {
			continue
		}
		err := create(path.Join(p.Name, c.File), func(w io.Writer) error {
			return c.Changes.WriteHTML(w, diff.HTMLOptions{Title: c.Name(), Before: cmp.Or(c.Before, "nothing"), After: c.After, Back: of.file()})
		})
		if err != nil {
			return err
		}
	}
	return create(path.Join(p.Name, of.file()), func(w io.Writer) error {
		return s.release.Write(w, p.Name+" "+of.ID, page)
	})
}

var unsafeName = regexp.MustCompile(`[^A-Za-z0-9._-]`)

// fileName makes a name that is safe in files and URLs.
func fileName(parts ...string) string {
	return unsafeName.ReplaceAllString(strings.Join(parts, "."), "-") + ".html"
}

func (r *release) file() string { return fileName(r.ID) }

// Images lists the images of the release, by reference and digest.
func (r *release) Images() []string {
	if r.Lock == nil {
		return nil
	}
	var images []string
	for _, i := range r.Lock.Images() {
		images = append(images, i.Ref+"@"+i.Digest.String())
	}
	return images
}

// indexPage is the data of the first page.
type indexPage struct {
	*Board
	Tally []count
	Parts []indexPart
}

// indexPart is a pipeline on the first page.
type indexPart struct {
	*Pipeline
	Graph    graph
	Messages []message
	Releases []*release
}

// card is a stage on the first page.
type card struct {
	*Stage
	Pipeline *Pipeline
}

// Search holds what a search finds beside the text of a card and the names of pages that it links to.
func (c card) Search() string {
	var digests []string
	for _, a := range []*Artifact{c.Live, c.Next()} {
		if a != nil && a.Digest != "" {
			digests = append(digests, a.Digest.Encoded())
		}
	}
	return strings.Join(slices.Compact(digests), " ")
}

// message is what there is to say about some stages.
type message struct {
	Stages []string
	Text   string
}

func (s site) newIndex() indexPage {
	page := indexPage{Board: s.Board}
	var all []*Stage
	for _, p := range s.Pipelines {
		all = append(all, p.Stages...)
		part := indexPart{Pipeline: p, Graph: newGraph(p.Stages), Releases: p.releases}
		for _, stage := range p.Stages {
			for _, text := range stage.Messages() {
				i := slices.IndexFunc(part.Messages, func(m message) bool { return m.Text == text })
				if i < 0 {
					i, part.Messages = len(part.Messages), append(part.Messages, message{Text: text})
				}
				part.Messages[i].Stages = append(part.Messages[i].Stages, stage.Name)
			}
		}
		page.Parts = append(page.Parts, part)
	}
	page.Tally = tally(all)
	return page
}

// releasePage is the data of a release's page.
type releasePage struct {
	*Board
	*release
	Pipeline *Pipeline
	Rows     []releaseRow
	Verdicts []*Stage // that judged the release
	Changes  []releaseChange
	Made     []releaseArtifact
	History  []releasePromotion
}

// releaseRow is what a stage has of a release.
type releaseRow struct {
	*Stage
	What   string
	Since  time.Time
	Digest digest.Digest
}

// releaseChange is a change that a release makes to stages alike.
type releaseChange struct {
	stagediff.Group
	File string
}

// releaseArtifact is what is signed about an artifact of a release.
type releaseArtifact struct {
	proof
	Stage  string
	Digest digest.Digest
}

// releasePromotion is a promotion to a stage or away from it.
type releasePromotion struct {
	promotion
	Stage string
}

func newReleasePage(b *Board, p *Pipeline, of *release) releasePage {
	page := releasePage{Board: b, release: of, Pipeline: p}
	var changes []stagediff.Change
	for _, s := range p.Stages {
		page.add(s)
		if s.change != nil && s.Candidate.Release == of.ID {
			changes = append(changes, *s.change)
		}
	}
	for _, g := range stagediff.Groups(changes) {
		page.Changes = append(page.Changes, releaseChange{g, fileName(of.ID, g.Stage)})
	}
	slices.SortStableFunc(page.History, func(a, b releasePromotion) int { return b.Time.Compare(a.Time) })
	return page
}

// add adds what a stage has of the release.
func (page *releasePage) add(s *Stage) {
	var artifacts []digest.Digest
	row := func(what string, since time.Time, artifact digest.Digest) {
		page.Rows = append(page.Rows, releaseRow{s, what, since, artifact})
		artifacts = append(artifacts, artifact)
	}
	if l := s.Live; l != nil && l.Release == page.ID {
		row("live", s.Since, l.Digest)
	}
	if c := s.Candidate; c != nil && c.Release == page.ID && !slices.Contains(artifacts, c.Digest) {
		what := "candidate"
		if c.Digest == "" {
			what = "not hydrated"
		}
		row(what, time.Time{}, c.Digest)
	}
	for _, p := range s.promotions {
		from := p.From != nil && p.From.Release == page.ID
		if p.To.Release != page.ID && !from {
			continue
		}
		page.History = append(page.History, releasePromotion{p, s.Name})
		if p.To.Release == page.ID && !slices.Contains(artifacts, p.To.Digest) {
			row("was live", p.Time, p.To.Digest)
		}
	}
	if v := s.verdict; v != nil && v.Release == page.ID && len(v.Gates)+len(v.Checks) > 0 {
		page.Verdicts = append(page.Verdicts, s)
	}
	for _, d := range artifacts {
		if made, ok := s.made[d]; ok {
			page.Made = append(page.Made, releaseArtifact{made, s.Name, d})
		}
	}
}

// Verdict returns what a dry run of promote found.
func (s *Stage) Verdict() []policy.GateResult {
	var rows []policy.GateResult
	for _, c := range s.verdict.Checks {
		rows = append(rows, policy.GateResult{Gate: c.Check, Result: c.Result, Reason: c.Reason})
	}
	return append(rows, s.verdict.Gates...)
}

// functions are what templates call.
var functions = template.FuncMap{
	"page": func(p *Pipeline, id string) string {
		if !slices.ContainsFunc(p.releases, func(r *release) bool { return r.ID == id }) {
			return ""
		}
		return p.Name + "/" + fileName(id)
	},
	"card":    func(p *Pipeline, s *Stage) card { return card{s, p} },
	"label":   func(s *Stage) string { return states[rank(s)].Label },
	"names":   names,
	"risks":   risks,
	"short":   short,
	"brief":   cut,
	"stamp":   func(t time.Time) string { return t.UTC().Format(time.RFC3339) },
	"day":     func(t time.Time) string { return t.UTC().Format("2 Jan 2006 15:04 UTC") },
	"linked":  linked,
	"pretty":  pretty,
	"digests": digests,
	"type":    func(t string) string { return strings.TrimPrefix(t, "https://") },
}

// names lists the first of some stages.
func names(stages []string) string {
	const most = 10
	line := strings.Join(stages[:min(len(stages), most)], ", ")
	if more := len(stages) - most; more > 0 {
		line += fmt.Sprintf(" and %d more", more)
	}
	return webpage.Clean(line)
}

// risks lists what reviewers should look at, what is worst first.
func risks(c diff.Changes) []diff.Risk {
	const most = 8
	var all []diff.Risk
	for _, level := range []diff.Level{diff.Danger, diff.Warning} {
		for _, o := range c.Objects {
			for _, r := range o.Risks {
				if r.Level == level && len(all) < most {
					all = append(all, diff.Risk{Level: r.Level, Message: o.String() + ": " + r.Message})
				}
			}
		}
	}
	return all
}

// shortDigits is how much of a commit or digest is shown where a reader only tells it from others.
const shortDigits = 12

var longHex = regexp.MustCompile(`[0-9a-f]{40,64}`)

// short cuts commits and digests in a line.
func short(s string) string { return webpage.Clean(cut(strings.TrimPrefix(s, "sha256:"))) }

func cut(s string) string {
	return longHex.ReplaceAllStringFunc(s, func(hex string) string { return hex[:shortDigits] })
}

// part is a piece of a text, with the URL that it is.
type part struct{ Text, URL string }

var address = regexp.MustCompile(`https://[^\s"'<>()]+[^\s"'<>().,;:]`)

// linked splits a text at its URLs.
func linked(text string) []part {
	text = webpage.Clean(text)
	var parts []part
	from := 0
	for _, at := range address.FindAllStringIndex(text, -1) {
		parts = append(parts, part{Text: text[from:at[0]]}, part{text[at[0]:at[1]], text[at[0]:at[1]]})
		from = at[1]
	}
	return append(parts, part{Text: text[from:]})
}

// pretty indents JSON.
func pretty(data json.RawMessage) string {
	var b bytes.Buffer
	if err := json.Indent(&b, data, "", "  "); err != nil {
		return ""
	}
	lines := strings.Split(b.String(), "\n")
	for i, line := range lines {
		lines[i] = webpage.Clean(line)
	}
	return strings.Join(lines, "\n")
}

// digests lists the digests of a resource.
func digests(d sign.ResourceDescriptor) string {
	var all []string
	for algorithm, hex := range d.Digest {
		all = append(all, algorithm+":"+hex)
	}
	slices.Sort(all)
	return webpage.Clean(strings.Join(all, " "))
}
