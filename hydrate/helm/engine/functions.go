package engine

import (
	"errors"
	"maps"
	"path"
	"reflect"
	"text/template"

	"github.com/Masterminds/sprig/v3"
)

// functions returns the functions that templates of one version of Helm can call. Those whose result depends on the render
// are there by name; [run.functions] has them.
func functions(helm int) template.FuncMap {
	all := sprig.TxtFuncMap()
	delete(all, "env")
	delete(all, "expandenv")
	maps.Copy(all, encodings)
	maps.Copy(all, ordered)
	maps.Copy(all, hostless)
	if helm == 4 {
		maps.Copy(all, helm4)
	}
	maps.Copy(all, (&run{}).functions(nil))
	return all
}

// functions returns the functions that belong to one render, and call templates of t's set.
func (r *run) functions(t *template.Template) template.FuncMap {
	bound := template.FuncMap{
		"include": r.include(t), "tpl": r.tpl(t), "required": required, "fail": fail, "lookup": r.lookup,

		// The clock.
		"now": r.now, "ago": r.ago, "date": r.date, "date_in_zone": r.dateInZone, "dateInZone": r.dateInZone,
		"htmlDate": r.htmlDate, "htmlDateInZone": r.htmlDateInZone, "durationRound": r.durationRound,

		// Randomness.
		"randAlpha": r.randString(letters), "randAlphaNum": r.randString(letters + digits), "randNumeric": r.randString(digits),
		"randAscii": r.randString(ascii), "randBytes": r.randBytes, "randInt": r.randInt, "shuffle": r.shuffle, "uuidv4": r.uuidv4,
		"bcrypt": r.bcrypt, "htpasswd": r.htpasswd, "encryptAES": r.encryptAES,
	}
	for name, generate := range generators {
		bound[name] = r.generate(generate)
	}
	return bound
}

// generators make keys and certificates. Go's libraries take no randomness for them but that of the host.
var generators = pick("genPrivateKey", "genCA", "genCAWithKey", "genSelfSignedCert", "genSelfSignedCertWithKey", "genSignedCert",
	"genSignedCertWithKey")

// ordered are functions whose result is in the order of a Go map in Helm, or in that of addresses in memory.
var ordered = template.FuncMap{
	"keys": sortedKeys, "values": sortedValues, "merge": merge, "mergeOverwrite": mergeOverwrite,
	"printf": printf,
}

// hostless are functions that look at the host in Helm.
var hostless = template.FuncMap{
	"getHostByName": func(string) string { return "" }, // as in Helm, unless it is given --enable-dns
	"toDate":        toDate, "mustToDate": mustToDate,
	"osBase": path.Base, "osClean": path.Clean, "osDir": path.Dir, "osExt": path.Ext, "osIsAbs": path.IsAbs,
}

// pick returns functions of sprig.
func pick(names ...string) template.FuncMap {
	all, picked := sprig.GenericFuncMap(), template.FuncMap{}
	for _, name := range names {
		picked[name] = all[name]
	}
	return picked
}

// generate returns a function that calls function if generating is allowed, and otherwise fails.
func (r *run) generate(function any) any {
	f := reflect.ValueOf(function)
	return reflect.MakeFunc(f.Type(), func(args []reflect.Value) []reflect.Value {
		if !r.request.Generate {
			panic(errGenerate) // text/template makes it the error of the call
		}
		r.result.Generated = true
		return f.Call(args)
	}).Interface()
}

var errGenerate = errors.New("it makes a new key or certificate in every render: give one in the values (an existing Secret by its name, say), or publish whatever comes out (render.nondeterminism: allow)")
