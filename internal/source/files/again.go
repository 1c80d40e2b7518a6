package files

// Local marks a source whose objects, but for members of archives, are files of this machine under their own names.
func (s *Source) Local() bool { return true }
