// Package strictyaml reads configuration files that people write. It reports every mistake in one run, with its file, line
// and column.
//
// Parse turns one YAML document into a tree of Nodes that know their position. Trees are merged (Merge, MergeByName),
// rewritten (MapStrings) and decoded into Go structs (Decode); a node keeps its position, so that a problem with a value
// from another file names that file.
//
// Parse refuses:
//   - input over MaxSize bytes, nesting over MaxDepth, and more than MaxNodes nodes after aliases are followed (an alias
//     that contains itself is among these);
//   - an empty input, and more than one document;
//   - a key given twice in one map, a key that is not a scalar, and merge keys (`<<`) wherever a map is decoded.
//
// Decode refuses an unknown key, a missing required key and a value of another type. It never converts: 1.10 is a number
// and not a string, because a later reader would have seen 1.1.
//
// YAML is read as go.yaml.in/yaml/v3 reads it: YAML 1.2 with `yes` and `on` as strings.
package strictyaml

// Bounds on what Parse reads. They are far above any file that people write.
const (
	// MaxSize is the most bytes of one document.
	MaxSize = 1 << 20
	// MaxDepth is how deep maps and lists may nest.
	MaxDepth = 64
	// MaxNodes is the most nodes of one document, aliases counted each time they are used.
	MaxNodes = 50_000
)
