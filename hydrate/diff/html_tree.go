package diff

import (
	"slices"
	"strings"
)

// maxFolders bounds the nesting of the tree; deeper files are in the last folder.
const maxFolders = 32

// htmlFolder is a folder of the tree of files, or a file with several objects.
type htmlFolder struct {
	Name    string
	Folders []*htmlFolder
	Files   []htmlFile
}

// htmlFile is an object in the tree.
type htmlFile struct {
	*htmlObject
	Label string
}

func (f *htmlFolder) add(at []string, file htmlFile) {
	for _, name := range at[:min(len(at), maxFolders)] {
		name = clean(name)
		i := slices.IndexFunc(f.Folders, func(sub *htmlFolder) bool { return sub.Name == name })
		if i < 0 {
			i = len(f.Folders)
			f.Folders = append(f.Folders, &htmlFolder{Name: name})
		}
		f = f.Folders[i]
	}
	f.Files = append(f.Files, file)
}

// sort orders folders by name, and replaces a file with one object by the object.
func (f *htmlFolder) sort() {
	var folders []*htmlFolder
	for _, sub := range f.Folders {
		leaf := len(sub.Folders) == 0 && len(sub.Files) == 1
		sub.sort()
		if leaf {
			f.Files = append(f.Files, htmlFile{sub.Files[0].htmlObject, sub.Name})
			continue
		}
		folders = append(folders, sub)
	}
	f.Folders = folders
	slices.SortStableFunc(f.Folders, func(a, b *htmlFolder) int { return strings.Compare(a.Name, b.Name) })
	slices.SortStableFunc(f.Files, func(a, b htmlFile) int { return strings.Compare(a.Label, b.Label) })
}
