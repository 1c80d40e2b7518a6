package durable

import "golang.org/x/sys/windows"

// Free is the room for this user where path is, in bytes.
func Free(path string) (free uint64, err error) {
	name, err := windows.UTF16PtrFromString(path)
	if err != nil {
		return 0, err
	}
	err = windows.GetDiskFreeSpaceEx(name, &free, nil, nil)
	return free, err
}
