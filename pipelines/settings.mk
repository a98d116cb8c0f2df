# settings.mk - settings as files, so that make sees a setting as it sees a file: it changes only when its text does.
#
#	$(eval $(call settings,FILE,TEXT))

# A decimal point, and bytes for characters, in every awk: mawk writes and reads 0,5 where the user's language does.
export LC_ALL := C

define settings
$(1): force
	@mkdir -p $$(@D)
	@printf '%s\n' '$(subst ','\'',$(strip $(2)))' | cmp -s - $$@ || printf '%s\n' '$(subst ','\'',$(strip $(2)))' > $$@
endef

force:
.PHONY: force
